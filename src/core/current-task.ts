import type { TaskOrigin } from "./carrier.js";
import type { TaskContext, TaskTags } from "./types.js";

/** The facts that every attempt of a task has in common. */
export type TaskFacts = Pick<TaskOrigin, "id" | "name" | "maxAttempts" | "tags">;

/** A {@link TaskContext} that makes its signal on first use, because most tasks never read it. */
export class CurrentTask implements TaskContext {
  readonly taskId: string;
  readonly funcName: string;
  readonly attempt: number;
  readonly maxAttempts: number | undefined;
  readonly tags: TaskTags;
  readonly redelivered: boolean;
  #controller: AbortController | undefined;
  #aborted = false;
  #reason: unknown;

  constructor(origin: TaskFacts, attempt: number, redelivered = false) {
    this.taskId = origin.id;
    this.funcName = origin.name;
    this.attempt = attempt;
    this.maxAttempts = origin.maxAttempts;
    this.tags = origin.tags;
    this.redelivered = redelivered;
    Object.freeze(this);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Aborts a task's signal. It is no method of the instance, so that tasks cannot abort themselves by it. */
  static abort(task: CurrentTask, reason: unknown): void {
    task.#aborted = true;
    task.#reason = reason;
    task.#controller?.abort(reason);
  }
}
