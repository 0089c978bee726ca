import { AsyncResource } from "node:async_hooks";
import type { EnqueueRequest, EnqueueSettings } from "../core/enqueue.js";
import { debug, quietly } from "../core/guard.js";
import type { TaskMessage } from "../engines/engine.js";
import type { TaskFunction } from "./definition.js";
import { type UnfinishedTask, unfinished } from "./host.js";
import type { AddTaskOptions } from "./options.js";

/** What follows the function in `addTask`: its arguments, which may be left out where it needs none, and options. */
export type AddTaskRest<F extends TaskFunction> =
  [] extends Parameters<F>
    ? [args?: Readonly<Parameters<F>>, options?: AddTaskOptions]
    : [args: Readonly<Parameters<F>>, options?: AddTaskOptions];

/** A task that has been checked. */
export interface PreparedTask extends Pick<TaskMessage, "args" | "fresh"> {
  readonly request: EnqueueRequest;
  readonly settings: EnqueueSettings;
}

/** Checks a task that is to be added; throws where it cannot be. */
type Prepare = (fn: TaskFunction, args?: readonly unknown[], options?: AddTaskOptions) => PreparedTask;

/** The way of a task into the engine. */
interface Door {
  readonly prepare: Prepare;
  /** Throws or rejects when the manager is shut down, or the engine refuses the task. */
  readonly enqueue: (prepared: PreparedTask) => Promise<unknown> | undefined;
}

interface HeldTask {
  readonly id: string;
  readonly name: string;
  /** In the context of whoever added it. */
  readonly enqueue: () => void;
}

/** The tasks of one piece of work, such as a request; made by `TaskManager.scope()`. */
export interface TaskScope {
  /**
   * As `TaskManager.addTask`. With an in-process engine the task is checked now, and enqueued in the caller's context
   * when the scope is released; its id is known at once.
   */
  addTask<F extends TaskFunction>(fn: F, ...rest: AddTaskRest<F>): Promise<string>;
  /** The work is done: what was held starts, and what is added from now on is sent at once. */
  release(): void;
  /** The work failed: what was held never starts. What a durable engine has accepted stays. */
  discard(): void;
}

/** What all scopes of a manager hold back. */
export class HeldTasks {
  readonly #tasks = new Set<HeldTask>();
  #onEmpty: (() => void) | undefined;

  add(task: HeldTask): void {
    this.#tasks.add(task);
  }

  delete(task: HeldTask): void {
    this.#tasks.delete(task);
    if (this.#tasks.size === 0) this.#onEmpty?.();
  }

  /** Resolves when each was sent or left out. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
      if (this.#tasks.size === 0) resolve();
    });
  }

  /** Those that are still held. */
  unfinished(): UnfinishedTask[] {
    return [...this.#tasks].map((task) => unfinished(task, "ready"));
  }
}

/** Holds tasks back where the engine would start them at once, and sends them where it stores them. */
export class HoldingScope implements TaskScope {
  readonly #door: Door;
  readonly #all: HeldTasks;
  readonly #held: HeldTask[] = [];
  #state: "holding" | "sending" | "discarding";

  constructor(door: Door, durable: boolean, all: HeldTasks) {
    this.#door = door;
    this.#all = all;
    this.#state = durable ? "sending" : "holding";
  }

  async addTask<F extends TaskFunction>(fn: F, ...rest: AddTaskRest<F>): Promise<string> {
    const [args, options] = rest;
    const prepared = this.#door.prepare(fn, args, options);
    const { id } = prepared.request;
    if (this.#state === "sending") await this.#door.enqueue(prepared);
    else if (this.#state === "discarding") leaveOut(id);
    else
      this.#hold({ id, name: prepared.settings.name, enqueue: AsyncResource.bind(() => void this.#later(prepared)) });
    return id;
  }

  release(): void {
    this.#end("sending", (task) => task.enqueue());
  }

  discard(): void {
    this.#end("discarding", ({ id }) => leaveOut(id));
  }

  #end(state: "sending" | "discarding", each: (task: HeldTask) => void): void {
    if (this.#state !== "holding") return;
    this.#state = state;
    for (const task of this.#held.splice(0)) {
      each(task);
      this.#all.delete(task);
    }
  }

  #hold(task: HeldTask): void {
    this.#held.push(task);
    this.#all.add(task);
  }

  // Whoever added the task is gone: what goes wrong now has no one else to tell.
  #later(prepared: PreparedTask): Promise<unknown> {
    return quietly(`enqueuing task ${prepared.request.id}`, async () => await this.#door.enqueue(prepared));
  }
}

function leaveOut(id: string): void {
  debug(`task ${id} is left out with the scope it was added to`);
}
