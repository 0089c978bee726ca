import { safely } from "../../core/guard.js";
import { isStorable } from "../../core/text.js";
import { reasonOf } from "./stored-job.js";

/**
 * What graphile-worker is told of an error: the very one where it can store its text, else an Error that says the same
 * as far as it can be stored, with the other as its `cause`. A text that the database refuses would end a worker, or on
 * 0.18 all of them, and leave the job locked for hours; a falsy value counts as success on 0.16.
 */
export function tellable(error: unknown): unknown {
  const fits = safely("reading an error", () => isTellable(error), false);
  return error && fits ? error : new Error(reasonOf(error), { cause: error });
}

// Reads what graphile-worker reads, for the row and for its logger, and throws where that would.
function isTellable(error: unknown): boolean {
  const { message, stack } = Object(error) as { message?: unknown; stack?: unknown };
  return isStorable(`${message || String(error)}`) && typeof String(stack) === "string";
}
