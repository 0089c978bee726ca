const BRAND: unique symbol = Symbol.for("otel-taskflow.error");

/** Stable codes, one for each error class. */
export type TaskErrorCode =
  | "TASK_CONFIG"
  | "TASK_MANAGER_CLOSED"
  | "TASK_QUEUE_FULL"
  | "TASK_TIMEOUT"
  | "TASK_CANCELLED"
  | "TASK_UNKNOWN"
  | "TASK_LOST"
  | "TASK_STORE"
  | "TASK_NON_RETRYABLE";

class TaskError<C extends TaskErrorCode> extends Error {
  readonly code: C;

  constructor(name: string, code: C, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    // name and brand are not enumerable, so that loggers and serialisers see message, stack and code
    Object.defineProperty(this, "name", { value: name, configurable: true, writable: true });
    Object.defineProperty(this, BRAND, { value: code });
  }
}

/**
 * Says that an option or argument is not acceptable. The call that received it throws at once, and nothing was stored.
 */
export class TaskConfigError extends TaskError<"TASK_CONFIG"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskConfigError", "TASK_CONFIG", message, options);
  }
}

/** Says that a task was not accepted, because its manager is shutting down or has shut down. */
export class TaskManagerClosedError extends TaskError<"TASK_MANAGER_CLOSED"> {
  constructor(message = "the task manager is shut down", options?: ErrorOptions) {
    super("TaskManagerClosedError", "TASK_MANAGER_CLOSED", message, options);
  }
}

/** Says that a task was not accepted, because the engine's queue holds as many as it may. */
export class TaskQueueFullError extends TaskError<"TASK_QUEUE_FULL"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskQueueFullError", "TASK_QUEUE_FULL", message, options);
  }
}

/** Says that an attempt ran longer than its task's `timeout`. It is the attempt's error and its signal's reason. */
export class TaskTimeoutError extends TaskError<"TASK_TIMEOUT"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskTimeoutError", "TASK_TIMEOUT", message, options);
  }
}

/** Says that a task was cancelled, or that its manager shut down before it ended. It is its signal's reason. */
export class TaskCancelledError extends TaskError<"TASK_CANCELLED"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskCancelledError", "TASK_CANCELLED", message, options);
  }
}

/** Says that an engine delivered a task that no `task()` call of this manager had registered. */
export class UnknownTaskError extends TaskError<"TASK_UNKNOWN"> {
  constructor(message: string, options?: ErrorOptions) {
    super("UnknownTaskError", "TASK_UNKNOWN", message, options);
  }
}

/** Says that a task gave up because run after run of it was lost, with the process that ran it or with its claim. */
export class TaskLostError extends TaskError<"TASK_LOST"> {
  constructor(message: string, options?: ErrorOptions) {
    super("TaskLostError", "TASK_LOST", message, options);
  }
}

/** What a {@link TaskStoreError} is made with. */
export interface TaskStoreErrorOptions extends ErrorOptions {
  /** Whether what was to be stored is there. Default: nobody knows. */
  readonly stored?: boolean | undefined;
}

/** Says that the store of an engine gave no answer; its `cause` is the library's own error, where there is one. */
export class TaskStoreError extends TaskError<"TASK_STORE"> {
  /** Whether what was to be stored is there; `undefined` where nobody knows. */
  readonly stored: boolean | undefined;

  constructor(message: string, { stored, ...options }: TaskStoreErrorOptions = {}) {
    super("TaskStoreError", "TASK_STORE", message, options);
    this.stored = stored;
  }
}

/** Thrown inside a task, it gives the task up now, whatever retries are left. */
export class NonRetryableError extends TaskError<"TASK_NON_RETRYABLE"> {
  constructor(message: string, options?: ErrorOptions) {
    super("NonRetryableError", "TASK_NON_RETRYABLE", message, options);
  }
}

// The guards read a registered symbol, so an error of another copy of the package passes too. None of them throws.

/** True for a {@link TaskConfigError} of any copy of the package. */
export function isTaskConfigError(error: unknown): error is TaskConfigError {
  return hasBrand(error, "TASK_CONFIG");
}

/** True for a {@link TaskManagerClosedError} of any copy of the package. */
export function isTaskManagerClosedError(error: unknown): error is TaskManagerClosedError {
  return hasBrand(error, "TASK_MANAGER_CLOSED");
}

/** True for a {@link TaskQueueFullError} of any copy of the package. */
export function isTaskQueueFullError(error: unknown): error is TaskQueueFullError {
  return hasBrand(error, "TASK_QUEUE_FULL");
}

/** True for a {@link TaskTimeoutError} of any copy of the package. */
export function isTaskTimeoutError(error: unknown): error is TaskTimeoutError {
  return hasBrand(error, "TASK_TIMEOUT");
}

/** True for a {@link TaskCancelledError} of any copy of the package. */
export function isTaskCancelledError(error: unknown): error is TaskCancelledError {
  return hasBrand(error, "TASK_CANCELLED");
}

/** True for an {@link UnknownTaskError} of any copy of the package. */
export function isUnknownTaskError(error: unknown): error is UnknownTaskError {
  return hasBrand(error, "TASK_UNKNOWN");
}

/** True for a {@link TaskLostError} of any copy of the package. */
export function isTaskLostError(error: unknown): error is TaskLostError {
  return hasBrand(error, "TASK_LOST");
}

/** True for a {@link TaskStoreError} of any copy of the package. */
export function isTaskStoreError(error: unknown): error is TaskStoreError {
  return hasBrand(error, "TASK_STORE");
}

/** True for a {@link NonRetryableError} of any copy of the package. */
export function isNonRetryableError(error: unknown): error is NonRetryableError {
  return hasBrand(error, "TASK_NON_RETRYABLE");
}

function hasBrand(value: unknown, code: TaskErrorCode): boolean {
  try {
    return typeof value === "object" && value !== null && Reflect.get(value, BRAND) === code;
  } catch {
    // a hostile proxy is nobody's error
    return false;
  }
}
