import type { Settlement } from "../engine.js";
import { nextAttempt } from "../envelope.js";
import type { EngineHelpers } from "./graphile.js";
import type { JobStore, NativeSpec } from "./job-store.js";
import { keyOf, payloadWithNext, type ReceivedJob, reasonOf, runAtOf } from "./stored-job.js";

/**
 * Stores what an attempt's end means, while its job is still locked. Returns why graphile-worker has to fail the job;
 * `undefined` where it has to complete it. Rejects where nothing could be stored, and the job is to be run again.
 */
export async function carryOut(
  store: JobStore,
  helpers: EngineHelpers,
  received: ReceivedJob,
  settlement: Settlement,
): Promise<string | undefined> {
  const { job } = helpers;
  const putBack = async (payload: unknown, delay: number, dueAt: number): Promise<void> => {
    // the server knows best when "at once" is
    const runAt = delay > 0 ? runAtOf(dueAt) : undefined;
    const native = await nativeSpecOf(helpers);
    await store.putBack(job, { id: keyOf(job), identifier: job.task_identifier, payload, runAt, native });
  };
  switch (settlement.kind) {
    case "done":
      return undefined;
    case "retry": {
      const next = nextAttempt(received.attempt, settlement);
      await putBack(payloadWithNext(received, next), settlement.delay, next.dueAt);
      return undefined;
    }
    case "release":
      await putBack(job.payload, settlement.delay, Date.now() + settlement.delay);
      return undefined;
    default:
      return await store.giveUp(job, reasonOf(settlement.error));
  }
}

// What another producer told graphile-worker of a job holds for its next run as well.
async function nativeSpecOf(helpers: EngineHelpers): Promise<NativeSpec> {
  const { flags, priority, job_queue_id: queue } = helpers.job;
  const queueName = queue === null ? null : await helpers.getQueueName();
  return { priority, ...(flags && { flags: Object.keys(flags) }), ...(queueName !== null && { queueName }) };
}

/** What an attempt's end makes its job fail with, if it does. */
export function failureOf(settlement: Settlement): string | undefined {
  return settlement.kind === "fail" || settlement.kind === "cancelled" ? reasonOf(settlement.error) : undefined;
}
