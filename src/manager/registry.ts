import { checkText, show } from "../core/checks.js";
import type { EnqueueSettings } from "../core/enqueue.js";
import { TaskConfigError } from "../core/errors.js";
import { warn } from "../core/guard.js";
import { decideRetry } from "../core/retry.js";
import type { AttemptSettings } from "../core/running-attempt.js";
import type { TaskRelation } from "../core/types.js";
import { type TaskOptions, type TaskSettings, taskSettings } from "./options.js";
import type { Voice } from "./voice.js";

/** Any function, as `task()` and `addTask()` take it. */
export type TaskFunction = (...args: never[]) => unknown;

/** One registered task: everything about it that is known before it is enqueued. */
export interface TaskDefinition {
  readonly fn: TaskFunction;
  readonly enqueue: EnqueueSettings;
  readonly attempt: AttemptSettings;
  /** Hears the key of each tag that was cut. */
  readonly tellCut: (tag: string) => void;
}

/** What all tasks of a manager share. */
export interface SharedSettings extends Pick<AttemptSettings, "route" | "telemetry" | "notify"> {
  /** For tasks that do not say otherwise. */
  readonly relation: TaskRelation;
  /** The engine's own capability. */
  readonly durable: boolean;
  readonly voice: Voice;
}

/** The tasks of one manager; names and functions are each unique in it. */
export class Registry {
  readonly #byFunction = new Map<TaskFunction, TaskDefinition>();
  readonly #byName = new Map<string, TaskDefinition>();
  readonly #shared: SharedSettings;

  constructor(shared: SharedSettings) {
    this.#shared = shared;
  }

  /** @throws TaskConfigError for bad options, a missing name, or a name or function registered before. */
  add(options: string | TaskOptions, fn: TaskFunction): void {
    const given = typeof options === "string" ? { name: options } : options;
    if (typeof given !== "object" || given === null) {
      throw new TaskConfigError(`task(): expected a name or an options object first, received ${show(given)}`);
    }
    if (typeof fn !== "function") {
      throw new TaskConfigError(`task(): expected a function after the options, received ${show(fn)}`);
    }
    const definition = define(nameOf(given, fn), fn, taskSettings(given), this.#shared);
    const replaced = this.#replacedBy(definition);
    this.#byFunction.set(fn, definition);
    this.#byName.set(definition.enqueue.name, definition);
    if (replaced === undefined) return;
    // whoever holds a function of before adds tasks by it still
    for (const [known, old] of this.#byFunction) if (old === replaced) this.#byFunction.set(known, definition);
    warn(`task "${definition.enqueue.name}" was registered again, and replaces the one of before`);
  }

  /** @throws TaskConfigError for a function that was never registered. */
  get(fn: TaskFunction): TaskDefinition {
    const definition = this.#byFunction.get(fn);
    if (definition !== undefined) return definition;
    const what = typeof fn === "function" ? `function ${fn.name || "(anonymous)"}` : show(fn);
    throw new TaskConfigError(`addTask(): ${what} is not a task of this manager; pass what task() returned`);
  }

  find(name: string): TaskDefinition | undefined {
    return this.#byName.get(name);
  }

  names(): readonly string[] {
    return [...this.#byName.keys()];
  }

  // A module that is evaluated again, as hot reload does, registers its tasks again.
  #replacedBy({ fn, enqueue: { name } }: TaskDefinition): TaskDefinition | undefined {
    const known = this.#byName.get(name);
    const other = this.#byFunction.get(fn);
    if (other !== undefined && other !== known) {
      throw new TaskConfigError(`task(): this function is registered already, as "${other.enqueue.name}"`);
    }
    if (known === undefined) return undefined;
    if (process.env.NODE_ENV !== "production" && isSameSource(known.fn, fn)) return known;
    throw new TaskConfigError(
      `task(): the name "${name}" is taken by another task of this manager; give each a name of its own, as minifiers ` +
        'give one to several functions: task({ name: "send-email", … }, fn). Where a module is evaluated again (hot ' +
        "reload), make its manager there as well, or register its tasks in a module that is evaluated once",
    );
  }
}

function define(name: string, fn: TaskFunction, own: TaskSettings, shared: SharedSettings): TaskDefinition {
  const { maxAttempts, policy, timeout } = own;
  const { route, telemetry, notify, voice } = shared;
  const decide: AttemptSettings["decide"] = (error, context) => decideRetry(policy, error, context);
  return {
    fn,
    enqueue: { name, maxAttempts, relation: own.relation ?? shared.relation, route, telemetry },
    attempt: { timeout, route, functionName: fn.name, telemetry, decide, notify },
    tellCut: (tag) => tellCut(voice, name, tag),
  };
}

// What bind() and the language itself make has no source to compare.
function isSameSource(one: TaskFunction, other: TaskFunction): boolean {
  const source = Function.prototype.toString.call(one);
  return one === other || (source === Function.prototype.toString.call(other) && !source.endsWith("[native code] }"));
}

function tellCut(voice: Voice, funcName: string, tag: string): void {
  const message = `a task's tag "${tag}" is too long and was cut (task "${funcName}")`;
  warn(message);
  voice.say({ kind: "tag", message }, funcName);
}

function nameOf({ name }: TaskOptions, fn: TaskFunction): string {
  if (name !== undefined) return checkText("name", name);
  if (fn.name !== "") return fn.name;
  throw new TaskConfigError(
    "task(): a function without a name, as minifiers may leave it, needs one given: " +
      'task({ name: "send-email", … }, fn)',
  );
}
