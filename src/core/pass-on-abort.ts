import { CurrentTask } from "./current-task.js";
import { TaskCancelledError } from "./errors.js";
import { onAbort } from "./on-abort.js";
import type { TaskContext } from "./types.js";

/**
 * Aborts a running task's signal when its worker's does, at once if it has, and nothing more: where a worker goes by
 * what the function does, its signal is a request, and no end of the attempt. `task` is of this copy of the package.
 * Returns how to stop that.
 */
export function passOnAbort(signal: AbortSignal, task: TaskContext, why: string): () => void {
  // an attempt's context is made as one
  const current = task as CurrentTask;
  return onAbort(signal, () => CurrentTask.abort(current, new TaskCancelledError(why, { cause: signal.reason })));
}
