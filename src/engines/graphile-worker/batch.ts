/**
 * Why a batch job failed: graphile-worker takes one when its payload and its result are arrays of one length, and
 * keeps the entries whose promise rejected for the next attempt. `undefined` where nothing failed.
 */
export async function batchFailure(payload: unknown, result: unknown): Promise<AggregateError | undefined> {
  if (!Array.isArray(payload) || !Array.isArray(result) || payload.length !== result.length) return undefined;
  const settled = await Promise.allSettled(result);
  const reasons = settled.flatMap((entry) => (entry.status === "rejected" ? [entry.reason] : []));
  if (reasons.length === 0) return undefined;
  return new AggregateError(reasons, `${reasons.length} of ${result.length} entries of the batch failed`);
}
