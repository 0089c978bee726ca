import { CurrentTask } from "./current-task.js";
import { TaskCancelledError } from "./errors.js";
import { safely } from "./guard.js";
import type { TaskContext } from "./types.js";

const followers = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Aborts a running task's signal when its worker's does, at once if it has, and nothing more: where a worker goes by
 * what the function does, its signal is a request, and no end of the attempt. `task` is of this copy of the package.
 * Returns how to stop that. One listener for all tasks: a signal that all jobs of a worker share has more of them than
 * Node takes without a warning of a leak.
 */
export function passOnAbort(signal: AbortSignal, task: TaskContext, why: string): () => void {
  // an attempt's context is made as one
  const current = task as CurrentTask;
  const abort = (): void => CurrentTask.abort(current, new TaskCancelledError(why, { cause: signal.reason }));
  const follow = (): void => safely("aborting a task's signal", abort, undefined);
  const all = followers.get(signal) ?? listen(signal);
  all.add(follow);
  if (signal.aborted) follow();
  return () => all.delete(follow);
}

function listen(signal: AbortSignal): Set<() => void> {
  const all = new Set<() => void>();
  followers.set(signal, all);
  const tellAll = (): void => {
    for (const tell of all) tell();
  };
  signal.addEventListener("abort", tellAll, { once: true });
  return all;
}
