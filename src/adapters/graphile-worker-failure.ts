import { safely } from "../core/guard.js";
import { isStorable } from "../core/text.js";
import { reasonOf } from "../engines/graphile-worker/stored-job.js";

/** A batch job that failed, in part or as a whole. */
export interface FailedBatch {
  readonly error: AggregateError;
  /** For graphile-worker, which finds out itself which entries to keep. */
  readonly result: unknown[];
}

/**
 * How a batch job failed: graphile-worker takes one when its payload and its result are arrays of one length, and
 * keeps the entries whose promise rejected for the next attempt. `undefined` where nothing failed.
 */
export async function failedBatch(payload: unknown, result: unknown): Promise<FailedBatch | undefined> {
  if (!Array.isArray(payload) || !Array.isArray(result) || payload.length !== result.length) return undefined;
  const settled = await Promise.allSettled(result);
  const reasons = settled.flatMap((entry) => (entry.status === "rejected" ? [entry.reason] : []));
  if (reasons.length === 0) return undefined;
  const error = new AggregateError(reasons, `${reasons.length} of ${result.length} entries of the batch failed`);
  return { error, result: result.map((entry, index) => tellableEntry(entry, settled[index])) };
}

function tellableEntry(entry: unknown, end: PromiseSettledResult<unknown> | undefined): unknown {
  if (end?.status !== "rejected") return entry;
  const told = tellable(end.reason);
  if (told === end.reason) return entry;
  const rejected = Promise.reject(told);
  // graphile-worker hears it later
  rejected.catch(() => {});
  return rejected;
}

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
