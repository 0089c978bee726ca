const BRAND: unique symbol = Symbol.for("otel-taskflow.error") as never;

/** Stable codes, one for each error class. */
export type TaskErrorCode =
  | "TASK_CONFIG"
  | "TASK_MANAGER_CLOSED"
  | "TASK_QUEUE_FULL"
  | "TASK_TIMEOUT"
  | "TASK_CANCELLED"
  | "TASK_UNKNOWN"
  | "TASK_NON_RETRYABLE";

class TaskError<C extends TaskErrorCode> extends Error {
  readonly code: C;

  constructor(name: string, code: C, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    // Both stay off the enumerable surface: loggers and serialisers see message, stack and code.
    Object.defineProperty(this, "name", { value: name, configurable: true, writable: true });
    Object.defineProperty(this, BRAND, { value: code });
  }
}

/** An option or argument is not acceptable. Thrown at once, by the call that received it; nothing was stored. */
export class TaskConfigError extends TaskError<"TASK_CONFIG"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskConfigError", "TASK_CONFIG", message, options);
  }
}

/** The manager is shutting down, or has; the task was not accepted. */
export class TaskManagerClosedError extends TaskError<"TASK_MANAGER_CLOSED"> {
  constructor(message = "the task manager is shut down and accepts no new tasks", options?: ErrorOptions) {
    super("TaskManagerClosedError", "TASK_MANAGER_CLOSED", message, options);
  }
}

/** The engine's queue holds as many tasks as it may; the task was not accepted. */
export class TaskQueueFullError extends TaskError<"TASK_QUEUE_FULL"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskQueueFullError", "TASK_QUEUE_FULL", message, options);
  }
}

/** An attempt ran longer than its task's `timeout`. Reason of `signal`, and the attempt's error. */
export class TaskTimeoutError extends TaskError<"TASK_TIMEOUT"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskTimeoutError", "TASK_TIMEOUT", message, options);
  }
}

/** The task was cancelled, or its manager shut down before it ended. Reason of `signal`. */
export class TaskCancelledError extends TaskError<"TASK_CANCELLED"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskCancelledError", "TASK_CANCELLED", message, options);
  }
}

/** An engine delivered a task that no `task()` call of this manager registered. */
export class UnknownTaskError extends TaskError<"TASK_UNKNOWN"> {
  constructor(message: string, options?: ErrorOptions) {
    super("UnknownTaskError", "TASK_UNKNOWN", message, options);
  }
}

/** Throw it inside a task to give up now, whatever retries are left. */
export class NonRetryableError extends TaskError<"TASK_NON_RETRYABLE"> {
  constructor(message: string, options?: ErrorOptions) {
    super("NonRetryableError", "TASK_NON_RETRYABLE", message, options);
  }
}

// The guards read a registered symbol, so an error of another copy of the package passes too.

export function isTaskConfigError(error: unknown): error is TaskConfigError {
  return hasBrand(error, "TASK_CONFIG");
}

export function isTaskManagerClosedError(error: unknown): error is TaskManagerClosedError {
  return hasBrand(error, "TASK_MANAGER_CLOSED");
}

export function isTaskQueueFullError(error: unknown): error is TaskQueueFullError {
  return hasBrand(error, "TASK_QUEUE_FULL");
}

export function isTaskTimeoutError(error: unknown): error is TaskTimeoutError {
  return hasBrand(error, "TASK_TIMEOUT");
}

export function isTaskCancelledError(error: unknown): error is TaskCancelledError {
  return hasBrand(error, "TASK_CANCELLED");
}

export function isUnknownTaskError(error: unknown): error is UnknownTaskError {
  return hasBrand(error, "TASK_UNKNOWN");
}

export function isNonRetryableError(error: unknown): error is NonRetryableError {
  return hasBrand(error, "TASK_NON_RETRYABLE");
}

function hasBrand(value: unknown, code: TaskErrorCode): boolean {
  try {
    return typeof value === "object" && value !== null && (value as { [BRAND]?: unknown })[BRAND] === code;
  } catch {
    return false; // a hostile proxy is nobody's error
  }
}
