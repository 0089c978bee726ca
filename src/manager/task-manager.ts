import type { TaskOrigin } from "../core/carrier.js";
import { checkRelation, show } from "../core/checks.js";
import { enqueue } from "../core/enqueue.js";
import { TaskConfigError, TaskManagerClosedError } from "../core/errors.js";
import { quietly } from "../core/guard.js";
import { InFlight } from "../core/in-flight.js";
import { outsideTasks } from "../core/live-attempt.js";
import { createTelemetry } from "../core/telemetry.js";
import { isThenable } from "../core/thenable.js";
import type { TaskTelemetryOptions } from "../core/types.js";
import { unlessAborted } from "../core/when-aborted.js";
import { memoryEngine } from "../engines/memory.js";
import type { SharedSettings, TaskFunction } from "./definition.js";
import type { Bystanders } from "./deliveries.js";
import { notifier } from "./hooks.js";
import { Host, type UnfinishedTask } from "./host.js";
import {
  type AddTaskOptions,
  checkAddOptions,
  checkEngine,
  checkManagerOptions,
  checkOnNotice,
  checkRuntime,
  type ShutdownOptions,
  shutdownTimeout,
  type TaskManagerOptions,
  type TaskOptions,
} from "./options.js";
import { Registry } from "./registry.js";
import { type AddTaskRest, HeldTasks, HoldingScope, type PreparedTask, type TaskScope } from "./task-scope.js";
import { voiceOf } from "./voice.js";

/** For so long beyond its timeout a shutdown waits for a store. */
const CLOSING_MS = 800;
const NO_ARGS: readonly unknown[] = [];
const ACCEPTED = { isStored: (stored: boolean): boolean => stored };

/** What a shutdown left behind. */
export interface ShutdownReport {
  /** Tasks that succeeded or gave up while the manager shut down. */
  readonly completed: number;
  /** Every other task accepted in this process, but for those that were cancelled. */
  readonly abandoned: readonly UnfinishedTask[];
}

/** What {@link TaskManager.method} returns, as TypeScript and the language's decorators take it. */
export type TaskDecorator<T, A extends unknown[], R> = (
  method: (this: T, ...args: A) => R,
  decorated: ClassMethodDecoratorContext<T, (this: T, ...args: A) => R>,
) => void;

/**
 * Registers functions as tasks and runs them through an engine, each attempt inside its own task context and
 * span. Telemetry needs no set-up of its own: with an OpenTelemetry SDK registered, before or after, spans
 * appear; without one, everything else works the same.
 */
export class TaskManager {
  readonly #registry: Registry;
  readonly #host: Host;
  readonly #shared: SharedSettings;
  readonly #copyArgs: (args: readonly unknown[]) => readonly unknown[];
  readonly #accepting = new InFlight();
  readonly #held = new HeldTasks();
  /** Lines that an asynchronous `onLog` is still writing. */
  readonly #lines = new InFlight();
  #working = false;
  #shutdown: Promise<ShutdownReport> | undefined;
  /** Takes nothing more from a scope either. */
  #closed = false;

  /** @throws TaskConfigError for an option out of range. */
  constructor(options: TaskManagerOptions = {}) {
    checkRuntime();
    checkManagerOptions(options);
    const engine = checkEngine(options.engine ?? memoryEngine());
    const { name, system, destination, server, capabilities } = engine;
    this.#copyArgs = (args) => engine.copyArgs?.(args) ?? copyOf(args);
    this.#shared = {
      route: { engine: name, system, destination, server },
      telemetry: createTelemetry({ ...options, onLog: heard(options.onLog, this.#lines) }),
      relation: checkRelation(options.relation ?? "parent"),
      notify: notifier(options),
      durable: capabilities.durable,
      voice: voiceOf(checkOnNotice(options.onNotice), options.onFailure !== undefined),
    };
    this.#registry = new Registry(this.#shared);
    this.#host = new Host(engine, this.#registry, this.#shared);
  }

  /**
   * Registers a function as a task, under the given name or its own, and returns it: a direct call stays a
   * plain call.
   *
   * @throws TaskConfigError for an option out of range, or a name or function registered before.
   */
  task<F extends TaskFunction>(options: string | TaskOptions, fn: F): F {
    this.#registry.add(options, fn);
    if (this.#working) void quietly(`working on ${fn.name || "a new task"}`, () => this.#host.work());
    return fn;
  }

  /**
   * Enqueues a task and resolves to its id once the engine has accepted it; never starts it synchronously.
   * Rejects with a `TaskConfigError` (nothing was stored), `TaskQueueFullError` or `TaskManagerClosedError`.
   */
  async addTask<F extends TaskFunction>(fn: F, ...rest: AddTaskRest<F>): Promise<string> {
    const prepared = this.#prepare(fn, rest[0], rest[1]);
    const accepted = this.#enqueue(prepared);
    if (accepted !== undefined) await accepted;
    return prepared.request.id;
  }

  /**
   * Registers a function as `task()` does, and returns a callback for whatever will call it: a cron library, a timer,
   * an event emitter. Each call adds a task, in a trace of its own whatever is active there, with the arguments of the
   * call and with `each`, or what `each` makes of them; a function that declares no parameter gets none, whatever its
   * caller passes. The callback's promise resolves once the engine has accepted the task, not when the task has ended:
   * where runs may not overlap, give them one `taskId`. It never rejects: a task that cannot be added, also because
   * `each` threw or rejected, is told to diag.
   *
   * @throws TaskConfigError as `task()` does, and for options of `each` that `addTask()` refuses.
   */
  callback<A extends unknown[]>(
    options: string | TaskOptions,
    fn: (...args: A) => unknown,
    each: AddTaskOptions | ((...args: A) => AddTaskOptions | Promise<AddTaskOptions>) = {},
  ): (...args: A) => Promise<void> {
    if (typeof each !== "function") checkAddOptions("callback()", each);
    const task = this.task(options, fn);
    const add = async (args: A): Promise<void> => {
      const given = typeof each === "function" ? each(...args) : each;
      const awaited = isThenable(given) ? await given : given;
      await this.#enqueue(this.#prepare(task, fn.length === 0 ? NO_ARGS : args, awaited));
    };
    return (...args) => quietly("callback()", () => outsideTasks(() => add(args)));
  }

  /**
   * A decorator that makes a task of a method: on each new instance, bound to it and under the method's name or the
   * given one. Names are unique in a manager, so one instance per manager may have it. For the language's own
   * decorators; with TypeScript's `experimentalDecorators`, use a field: `readonly send = tasks.task(…)`.
   *
   * @throws TaskConfigError for what is no public method, and when an instance is made, as `task()` does.
   */
  method<T extends object, A extends unknown[], R>(options: TaskOptions = {}): TaskDecorator<T, A, R> {
    const register = (task: TaskFunction): TaskFunction => this.task(options, task);
    return (_method, decorated) => {
      checkDecorated(decorated);
      const { name, addInitializer } = decorated;
      addInitializer(function (this: T) {
        // by its name: a subclass may have a method of its own there
        const method = Reflect.get(this, name) as (this: T, ...args: A) => R;
        const task = Object.defineProperty(method.bind(this), "name", { value: String(name) });
        Object.defineProperty(this, name, { value: register(task), configurable: true, writable: true });
      });
    };
  }

  /**
   * Tasks of one piece of work, such as a request: with an in-process engine they are checked at once and start when
   * `release()` says that the work is done, with a durable engine `addTask` sends them at once.
   */
  scope(): TaskScope {
    const door = { prepare: this.#prepare.bind(this), enqueue: this.#enqueue.bind(this) };
    return new HoldingScope(door, this.#shared.durable, this.#held);
  }

  /**
   * Stops a task: true when it is certain not to start another attempt (an attempt running in this process is
   * aborted), false when it is unknown or has ended. Never throws.
   */
  async cancel(taskId: string): Promise<boolean> {
    return await quietly(`cancelling task ${taskId}`, () => this.#host.cancel(taskId), false);
  }

  /** Starts consuming, also for what is registered later. The memory engine already does. */
  async work(): Promise<void> {
    this.#working = true;
    await this.#host.work();
  }

  /** Resolves when nothing is queued, waiting for retry, or running in this process; but for a task that calls it. */
  async idle(): Promise<void> {
    await this.#host.idle();
    await this.#lines.settled();
  }

  /**
   * Refuses new tasks, lets the others end until `timeout`, those too that a scope still holds, then aborts what is left
   * without waiting for functions that ignore their signal. Every span is ended before it resolves. A second call joins the first.
   */
  async shutdown(options: ShutdownOptions = {}): Promise<ShutdownReport> {
    const timeout = shutdownTimeout(options);
    return await this.#host.shutdown((bystanders) => {
      this.#shutdown ??= this.#stop(timeout, bystanders);
      return this.#shutdown;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  // Everything that can be checked before a task is stored.
  #prepare(fn: TaskFunction, args: readonly unknown[] = NO_ARGS, options: AddTaskOptions = {}): PreparedTask {
    const task = this.#registry.get(fn);
    if (!Array.isArray(args)) {
      throw new TaskConfigError(
        `addTask(): expected the arguments of ${task.enqueue.name} as an array, received ${show(args)}`,
      );
    }
    const request = checkAddOptions("addTask()", options, task.tellCut);
    if (this.#shutdown !== undefined) throw new TaskManagerClosedError();
    return { request, settings: task.enqueue, args: this.#copyArgs(args), fresh: options.taskId === undefined };
  }

  #enqueue({ request, settings, args, fresh }: PreparedTask): Promise<unknown> | undefined {
    if (this.#closed) throw new TaskManagerClosedError();
    const send = (origin: TaskOrigin): boolean | Promise<boolean> => this.#host.enqueue({ origin, args, fresh });
    const accepted = enqueue(request, settings, send, ACCEPTED);
    // a shutdown waits for what an engine is just accepting, or it could be named nowhere
    return isThenable(accepted) ? this.#accepting.add(accepted) : undefined;
  }

  async #stop(timeout: number, bystanders: Bystanders): Promise<ShutdownReport> {
    const before = this.#host.completed;
    const deadline = new AbortController();
    const end = new AbortController();
    let timer = setTimeout(() => {
      deadline.abort();
      timer = setTimeout(() => end.abort(), CLOSING_MS);
    }, timeout);
    await unlessAborted(this.#held.settled(), deadline.signal);
    this.#closed = true;
    const held = this.#held.unfinished();
    // an engine that fails keeps no task running and no span open
    const drain = async (): Promise<readonly UnfinishedTask[]> => {
      await this.#accepting.settled(deadline.signal);
      return await this.#host.drain(deadline.signal, bystanders);
    };
    const unstarted = await quietly("draining the engine", drain, []);
    const cutShort = await this.#host.abandon(end.signal);
    await this.#lines.settled(deadline.signal);
    await this.#host.close(end.signal);
    clearTimeout(timer);
    this.#shared.voice.close();
    return { completed: this.#host.completed - before, abandoned: [...cutShort, ...unstarted, ...held] };
  }
}

function copyOf(args: readonly unknown[]): readonly unknown[] {
  return args.length === 0 ? NO_ARGS : [...args];
}

// A promise that `onLog` returns is pending until the line is written: whoever waits for the tasks waits for it, too.
function heard(onLog: TaskTelemetryOptions["onLog"], pending: InFlight): TaskTelemetryOptions["onLog"] {
  if (typeof onLog !== "function") return onLog;
  return (line) => {
    const returned: unknown = onLog(line);
    if (isThenable(returned)) void pending.add(quietly("onLog", () => returned));
  };
}

function checkDecorated(decorated: Pick<ClassMethodDecoratorContext, "kind" | "name" | "private">): void {
  // TypeScript's older decorators pass the method's name instead
  if (decorated.kind === "method" && !decorated.private) return;
  throw new TaskConfigError(
    "method(): expected a public method; with experimentalDecorators, use a field: send = tasks.task(…)",
  );
}
