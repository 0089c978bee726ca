import { AsyncResource } from "node:async_hooks";
import { debug, quietly } from "../core/guard.js";
import type { AddTaskOptions } from "./options.js";
import type { TaskFunction } from "./registry.js";

/** What follows the function in `addTask`: its arguments, which may be left out where it needs none, and options. */
export type AddTaskRest<F extends TaskFunction> =
  [] extends Parameters<F>
    ? [args?: Readonly<Parameters<F>>, options?: AddTaskOptions]
    : [args: Readonly<Parameters<F>>, options?: AddTaskOptions];

/** A task that has been checked, and how to hand it to the engine. */
export interface PreparedTask {
  readonly id: string;
  /** Throws or rejects when the manager is shut down, or the engine refuses the task. */
  readonly enqueue: () => Promise<void> | undefined;
}

type Prepare = (fn: TaskFunction, args?: readonly unknown[], options?: AddTaskOptions) => PreparedTask;

interface HeldTask {
  readonly id: string;
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

/** Holds tasks back where the engine would start them at once, and sends them where it stores them. */
export class HoldingScope implements TaskScope {
  readonly #prepare: Prepare;
  readonly #held: HeldTask[] = [];
  #state: "holding" | "sending" | "discarding";

  constructor(prepare: Prepare, durable: boolean) {
    this.#prepare = prepare;
    this.#state = durable ? "sending" : "holding";
  }

  async addTask<F extends TaskFunction>(fn: F, ...rest: AddTaskRest<F>): Promise<string> {
    const [args, options] = rest;
    const { id, enqueue } = this.#prepare(fn, args, options);
    if (this.#state === "sending") await enqueue();
    else if (this.#state === "discarding") leaveOut(id);
    else this.#held.push({ id, enqueue: AsyncResource.bind(() => void later(id, enqueue)) });
    return id;
  }

  release(): void {
    if (this.#state !== "holding") return;
    this.#state = "sending";
    for (const { enqueue } of this.#held.splice(0)) enqueue();
  }

  discard(): void {
    if (this.#state !== "holding") return;
    this.#state = "discarding";
    for (const { id } of this.#held.splice(0)) leaveOut(id);
  }
}

// Whoever added the task is gone: what goes wrong now has no one else to tell.
function later(id: string, enqueue: PreparedTask["enqueue"]): Promise<void> {
  return quietly(`enqueuing task ${id}`, async () => await enqueue(), undefined);
}

function leaveOut(id: string): void {
  debug(`task ${id} is left out: what it was added for failed, or was discarded`);
}
