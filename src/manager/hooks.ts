import type { AttemptEnd } from "../core/finish.js";
import type { TaskContext } from "../core/types.js";
import { checkHooks, type TaskManagerOptions } from "./options.js";

/**
 * Calls the hook of an attempt's end; `undefined` where there is none.
 *
 * @throws TaskConfigError for a hook that is no function.
 */
export function notifier(
  options: TaskManagerOptions,
): ((end: AttemptEnd<unknown>, task: TaskContext) => unknown) | undefined {
  const { onRetry, onSuccess, onFailure, onCancel } = checkHooks(options);
  if (!onRetry && !onSuccess && !onFailure && !onCancel) return undefined;
  return (end, context) => {
    switch (end.outcome) {
      case "success":
        return onSuccess?.({ context });
      case "retry":
        return onRetry?.({ context, error: end.error, delay: end.delay });
      case "cancelled":
        return onCancel?.({ context, error: end.error });
      case "deferred":
        return undefined;
      default:
        return onFailure?.({ context, error: end.error });
    }
  };
}
