import { TaskCancelledError } from "../core/errors.js";
import type { AttemptEnd } from "../core/finish.js";
import type { OwnSpan } from "../core/span.js";
import type { Settlement } from "../engines/engine.js";

const SUCCESS: Settlement = Object.freeze({ outcome: "success" });

/** Why a task ends without another attempt. */
export type DropReason = "cancelled" | "shutdown";

/** The end of an attempt as its engine is to store it; `span` is the attempt's. */
export function settlementOf(end: AttemptEnd<unknown>, span: OwnSpan): Settlement {
  const { outcome } = end;
  if (outcome === "success") return SUCCESS;
  if (outcome === "deferred") return { outcome, delay: 0 };
  const { error, delay = 0 } = end;
  if (outcome === "retry") return { outcome, delay, error, span: span.spanContext() };
  return { outcome: outcome === "cancelled" ? outcome : "failure", error };
}

/** The error that hooks and signals are told with such an end. */
export function reasonOf(why: DropReason): TaskCancelledError {
  const cancelled = why === "cancelled";
  return new TaskCancelledError(
    cancelled ? "the task was cancelled" : "the task manager shut down before the task ended",
  );
}
