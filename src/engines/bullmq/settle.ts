import { describeException } from "../../core/exception.js";
import { storable } from "../../core/text.js";
import type { Settlement } from "../engine.js";
import { GIVES_UP, PUTS_OFF } from "./library.js";

/**
 * Says that an attempt's end could not be stored, because the job has been removed, or is another worker's: seen in
 * BullMQ 5.81 and 6.7, on Redis and on PostgreSQL. `ID` stands for the job's id.
 */
const LOST_JOB = [
  "Missing key for job ID. ",
  "Missing lock for job ID. ",
  "Lock mismatch for job ID. ",
  "Job ID is not in the active state. ",
] as const;

/** How an attempt ends, for BullMQ to store: an error for the processor to throw, `undefined` where it returns. */
export function thrownFor(end: Settlement): Error | undefined {
  switch (end.outcome) {
    case "success":
      return undefined;
    case "retry":
      return named("Error", end.error);
    case "deferred":
      return moved();
    default:
      // no attempt follows this name, however many were left
      return named(GIVES_UP, end.error);
  }
}

/** The error to throw for a job that BullMQ is to leave alone: it has been moved or removed already. */
export function moved(): Error {
  const error = new Error("the task was given back");
  error.name = PUTS_OFF;
  return error;
}

/** Whether BullMQ tells by `error` that it could not store the end of this job, which is no longer this worker's. */
export function tellsLost({ message }: Error, id: string): boolean {
  return LOST_JOB.some((text) => message.includes(text.replace("ID", () => id)));
}

// The task's own error is never thrown: BullMQ goes by names and messages, and some of them mean something to it.
function named(name: string, thrown: unknown): Error {
  const { type, message, stack = "" } = describeException(thrown);
  const error = new Error(storable(type === "_OTHER" ? `thrown: ${message}` : `${type}: ${message}`));
  return Object.assign(error, { name, stack: storable(stack) });
}
