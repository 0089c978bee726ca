import type { Settlement } from "../engine.js";
import { nextAttempt } from "../envelope.js";
import type { GraphileJob } from "./library.js";
import type { Store } from "./store.js";
import { givenBack, payloadWithNext, type ReceivedTask, reasonOf } from "./stored-task.js";

/** The end of a job's attempt, once it is stored: what graphile-worker has to do with the job. */
export type JobEnd =
  | { readonly job: "complete" }
  | { readonly job: "fail"; readonly reason: string }
  /** It is not this worker's any more, so nothing is stored, and nothing may be done with it. */
  | { readonly job: "lost" };

const COMPLETE: JobEnd = { job: "complete" };
const LOST: JobEnd = { job: "lost" };

/**
 * Stores the end of an attempt, while its job is still locked. May be called again after a rejection. graphile-worker
 * stores a success itself, by completing the job, so nothing is asked for it.
 */
export function settle(
  store: Store,
  job: GraphileJob,
  received: ReceivedTask,
  end: Settlement,
): JobEnd | Promise<JobEnd> {
  switch (end.outcome) {
    case "success":
      return COMPLETE;
    case "retry":
      return putBack(store, job, payloadWithNext(received, nextAttempt(received.attempt, end)), end.delay);
    case "deferred":
      return putBack(store, job, givenBack(job, received), end.delay);
    default:
      return giveUp(store, job, reasonOf(end.error));
  }
}

async function putBack(store: Store, job: GraphileJob, payload: unknown, delay: number): Promise<JobEnd> {
  return (await store.putBack(job, payload, delay)) ? COMPLETE : LOST;
}

async function giveUp(store: Store, job: GraphileJob, why: string): Promise<JobEnd> {
  const reason = await store.giveUp(job, why);
  return reason === undefined ? LOST : { job: "fail", reason };
}
