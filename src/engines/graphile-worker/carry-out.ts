import type { Settlement } from "../engine.js";
import { nextAttempt } from "../envelope.js";
import type { GraphileJob } from "./graphile.js";
import type { JobStore } from "./job-store.js";
import { keyOf, type ReceivedJob, reasonOf, runAtOf } from "./stored-job.js";

/**
 * Stores what an attempt's end means, while its job is still locked. Returns why graphile-worker has to fail the job;
 * `undefined` where it has to complete it. Rejects where nothing could be stored, and the job is to be run again.
 */
export async function carryOut(
  store: JobStore,
  job: GraphileJob,
  { attempt }: ReceivedJob,
  settlement: Settlement,
): Promise<string | undefined> {
  const putBack = (payload: unknown, delay: number, dueAt: number): Promise<void> => {
    // the server knows best when "at once" is
    const runAt = delay > 0 ? runAtOf(dueAt) : undefined;
    return store.putBack(job, { id: keyOf(job), identifier: job.task_identifier, payload, runAt });
  };
  switch (settlement.kind) {
    case "done":
      return undefined;
    case "retry": {
      const next = nextAttempt(attempt, settlement);
      // only what holds a task is retried
      await putBack({ ...(job.payload as object), next }, settlement.delay, next.dueAt);
      return undefined;
    }
    case "release":
      await putBack(job.payload, settlement.delay, Date.now() + settlement.delay);
      return undefined;
    default:
      if (job.key !== null) await store.giveUp(job.key);
      return failureOf(settlement);
  }
}

/** What an attempt's end makes its job fail with, if it does. */
export function failureOf(settlement: Settlement): string | undefined {
  return settlement.kind === "fail" || settlement.kind === "cancelled" ? reasonOf(settlement.error) : undefined;
}
