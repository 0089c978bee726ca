import { checkFunction } from "../core/checks.js";
import type { AttemptEnd, Notify } from "../core/finish.js";
import { quietly } from "../core/guard.js";
import type { TaskContext } from "../core/types.js";
import type { TaskManagerOptions } from "./options.js";

type Hooks = Pick<TaskManagerOptions, "onRetry" | "onSuccess" | "onFailure" | "onCancel">;

/**
 * Calls the hook of an attempt's end; `undefined` where there is none at all. A hook that throws or rejects is told to
 * diag, and changes nothing.
 *
 * @throws TaskConfigError for a hook that is no function.
 */
export function notifier({ onRetry, onSuccess, onFailure, onCancel }: TaskManagerOptions): Notify | undefined {
  const hooks: Hooks = { onRetry, onSuccess, onFailure, onCancel };
  const given = Object.entries(hooks).filter(([, hook]) => hook !== undefined);
  for (const [name, hook] of given) checkFunction(name, hook);
  if (given.length === 0) return undefined;
  return (end, task) => quietly(`a hook of task ${task.funcName}`, () => callHook(hooks, end, task));
}

function callHook(hooks: Hooks, end: AttemptEnd<unknown>, context: TaskContext): void | Promise<void> {
  if (end.outcome === "success") return hooks.onSuccess?.({ context });
  const { outcome, error, delay } = end;
  if (outcome === "retry") return hooks.onRetry?.({ context, error, delay });
  if (outcome === "cancelled") return hooks.onCancel?.({ context, error });
  if (outcome !== "deferred") return hooks.onFailure?.({ context, error });
}
