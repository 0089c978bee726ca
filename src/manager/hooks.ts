import type { AttemptEnd, Notify } from "../core/finish.js";
import { quietly } from "../core/guard.js";
import type { TaskContext } from "../core/types.js";
import { checkHooks, type Hooks, type TaskManagerOptions } from "./options.js";

/**
 * Calls the hook of an attempt's end; `undefined` where there is none at all. A hook that throws or rejects is told to
 * diag, and changes nothing.
 *
 * @throws TaskConfigError for a hook that is no function.
 */
export function notifier(options: TaskManagerOptions): Notify | undefined {
  const hooks = checkHooks(options);
  if (Object.values(hooks).every((hook) => hook === undefined)) return undefined;
  return (end, task) => quietly(`a hook of task ${task.funcName}`, () => callHook(hooks, end, task));
}

function callHook(hooks: Hooks, end: AttemptEnd<unknown>, context: TaskContext): void | Promise<void> {
  switch (end.outcome) {
    case "success":
      return hooks.onSuccess?.({ context });
    case "retry":
      return hooks.onRetry?.({ context, error: end.error, delay: end.delay });
    case "cancelled":
      return hooks.onCancel?.({ context, error: end.error });
    case "deferred":
      return;
    default:
      return hooks.onFailure?.({ context, error: end.error });
  }
}
