import { show } from "../core/checks.js";
import { TaskConfigError } from "../core/errors.js";
import { warn } from "../core/guard.js";
import { define, type SharedSettings, type TaskDefinition, type TaskFunction } from "./definition.js";
import type { TaskOptions } from "./options.js";

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
    const definition = define(options, fn, this.#shared);
    const replaced = this.#replacedBy(definition);
    this.#byFunction.set(fn, definition);
    this.#byName.set(definition.enqueue.name, definition);
    if (replaced === undefined) return;
    // whoever holds a function of before adds tasks by it still
    for (const [known, old] of this.#byFunction) if (old === replaced) this.#byFunction.set(known, definition);
    warn(`task "${definition.enqueue.name}" was registered again`);
  }

  /** @throws TaskConfigError for a function that was never registered. */
  get(fn: TaskFunction): TaskDefinition {
    const definition = this.#byFunction.get(fn);
    if (definition !== undefined) return definition;
    const what = typeof fn === "function" ? `function ${fn.name || "(anonymous)"}` : show(fn);
    throw new TaskConfigError(`addTask(): ${what} is no task of this manager; pass what task() returned`);
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
      `task(): the name "${name}" is taken by another task; with hot reload, register in a module evaluated once`,
    );
  }
}

// What bind() and the language itself make has no source to compare.
function isSameSource(one: TaskFunction, other: TaskFunction): boolean {
  const source = Function.prototype.toString.call(one);
  return one === other || (source === Function.prototype.toString.call(other) && !source.endsWith("[native code] }"));
}
