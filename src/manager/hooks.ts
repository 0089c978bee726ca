import type { AttemptResult } from "../core/finish.js";
import type { TaskContext } from "../core/types.js";
import { checkHooks, type TaskManagerOptions } from "./options.js";

/**
 * Calls the hook of an attempt's end; `undefined` where there is none.
 *
 * @throws TaskConfigError for a hook that is no function.
 */
export function notifier(
  options: TaskManagerOptions,
): ((result: AttemptResult<unknown>, context: TaskContext) => unknown) | undefined {
  const { onRetry, onSuccess, onFailure, onCancel } = checkHooks(options);
  if (!onRetry && !onSuccess && !onFailure && !onCancel) return undefined;
  return (result, context) => {
    switch (result.outcome) {
      case "success":
        return onSuccess?.({ context });
      case "retry":
        return onRetry?.({ context, error: result.error, delay: result.delay });
      case "cancelled":
        return onCancel?.({ context, error: result.error });
      case "deferred":
        return undefined;
      default:
        return onFailure?.({ context, error: result.error });
    }
  };
}
