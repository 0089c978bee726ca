import { TaskCancelledError } from "../core/errors.js";
import type { AttemptEnd } from "../core/finish.js";
import type { OwnSpan } from "../core/span.js";
import type { Settlement } from "../engines/engine.js";

/** Why a task ends without another attempt. */
export type DropReason = "cancelled" | "shutdown";

/** The end of an attempt as its engine is to store it; `span` is the attempt's. */
export function settlementOf(end: AttemptEnd<unknown>, span: OwnSpan): Settlement {
  switch (end.outcome) {
    case "success":
      return { outcome: "success" };
    case "retry":
      return { outcome: "retry", delay: end.delay ?? 0, error: end.error, span: span.spanContext() };
    case "deferred":
      return { outcome: "deferred", delay: 0 };
    case "cancelled":
      return { outcome: "cancelled", error: end.error };
    default:
      return { outcome: "failure", error: end.error };
  }
}

/** The error that hooks and signals are told with such an end. */
export function reasonOf(why: DropReason): TaskCancelledError {
  const cancelled = why === "cancelled";
  return new TaskCancelledError(
    cancelled ? "the task was cancelled" : "the task manager shut down before the task ended",
  );
}
