import { describeException } from "../../core/exception.js";
import { storable } from "../../core/text.js";

/** What a processor throws after an attempt that will be followed by another. */
export function failed(error: unknown): Error {
  return named("Error", error);
}

/** What it throws where no attempt follows, however many were left. */
export function failedForGood(error: unknown): Error {
  return named("UnrecoverableError", error);
}

/** What it throws when it has moved the job itself. */
export function moved(): Error {
  const error = new Error("the task was given back");
  error.name = "DelayedError";
  return error;
}

// Never a task's own error: BullMQ goes by names and messages, and some of them mean something to it.
function named(name: string, thrown: unknown): Error {
  const { type, message, stack = "" } = describeException(thrown);
  const error = new Error(storable(type === "_OTHER" ? `thrown: ${message}` : `${type}: ${message}`));
  return Object.assign(error, { name, stack: storable(stack) });
}
