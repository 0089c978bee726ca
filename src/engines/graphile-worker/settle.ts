import { setTimeout as pause } from "node:timers/promises";
import { quietly } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { InFlight } from "../../core/in-flight.js";
import { Recent } from "../../core/recent.js";
import type { Settlement } from "../engine.js";
import { nextAttempt } from "../envelope.js";
import { untraced } from "../untraced.js";
import type { EngineHelpers, GraphileJob } from "./library.js";
import type { EndedJob, NativeSpec, Store } from "./store.js";
import { keyOf, payloadWithNext, type ReceivedTask, reasonOf, runAtOf } from "./stored-task.js";

/** Waits between looks: in the end, graphile-worker has told the server of a job's end, or has lost its connection. */
const LATE_MS: readonly number[] = [50, 450, 1_500];

/** Stores the end of an attempt, while its job is still locked. Never rejects. */
export async function settle(
  store: Store,
  helpers: EngineHelpers,
  received: ReceivedTask,
  end: Settlement,
): Promise<EndedJob> {
  try {
    return { failure: await storeEnd(store, helpers, received, end), stored: true };
  } catch (error) {
    const failed = end.outcome === "failure" || end.outcome === "cancelled";
    return { failure: failed ? reasonOf(end.error) : undefined, stored: false, error };
  }
}

// Resolves to the reason that the job has to be failed with; `undefined` where it has to be completed.
async function storeEnd(
  store: Store,
  helpers: EngineHelpers,
  received: ReceivedTask,
  end: Settlement,
): Promise<string | undefined> {
  const { job } = helpers;
  const putBack = async (payload: unknown, delay: number, dueAt: number): Promise<undefined> => {
    // without a time, a job is due at once by the server's clock
    const runAt = delay > 0 ? runAtOf(dueAt) : undefined;
    const native = await nativeSpecOf(helpers);
    await store.putBack(job, { id: keyOf(job), identifier: job.task_identifier, payload, runAt, native });
  };
  switch (end.outcome) {
    case "success":
      return undefined;
    case "retry": {
      const next = nextAttempt(received.attempt, end);
      return await putBack(payloadWithNext(received, next), end.delay, next.dueAt);
    }
    case "deferred":
      return await putBack(job.payload, end.delay, Date.now() + end.delay);
    default:
      return await store.giveUp(job, reasonOf(end.error));
  }
}

// Priority, queue and flags that another producer gave a job hold for its next run as well.
async function nativeSpecOf(helpers: EngineHelpers): Promise<NativeSpec> {
  const { flags, priority, job_queue_id: queue } = helpers.job;
  const queueName = queue === null ? null : await helpers.getQueueName();
  return { priority, ...(flags && { flags: Object.keys(flags) }), ...(queueName !== null && { queueName }) };
}

/**
 * Jobs whose attempts have ended. graphile-worker itself completes or fails each of them, some milliseconds later; where
 * it cannot, or would run the job again, this class puts it down.
 */
export class EndedJobs {
  readonly #store: Store;
  /** The last of them, most of which are put down by now. */
  readonly #recent = new Recent<EndedJob>();
  readonly #late = new InFlight();

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Called in a task's own trace, when graphile-worker gets its job back. Throws the error that it has to fail the job
   * with, and returns where it has to complete it.
   */
  handBack(job: GraphileJob, ended: EndedJob | undefined): void {
    if (ended === undefined) throw new Error("the end of the attempt is not known");
    this.#watch(job, ended);
    if (!ended.stored) throw ended.error;
    if (ended.failure !== undefined) throw new Error(ended.failure);
  }

  /** Frees the jobs that these workers held, which run no more, and puts down those that have ended. */
  async unlock(workers: readonly string[]): Promise<void> {
    const ended = this.#recent.entries();
    const held = await this.#store.unlock(workers, ended);
    // another worker may still fail to put its jobs down
    for (const [jobId] of ended) if (!held.has(jobId)) this.#recent.take(jobId);
  }

  /** Resolves when nothing is left to be put down from here, after seconds at most. Never rejects. */
  settled(): Promise<void> {
    return this.#late.settled();
  }

  #watch({ id, key }: GraphileJob, ended: EndedJob): void {
    const jobId = String(id);
    const { stored } = ended;
    // a job without a key does not show whether its end is stored: graphile-worker runs it again
    if (!stored && key === null) return;
    this.#recent.keep(jobId, ended);
    // a worker that goes on after a lost answer is never retired, which would free its jobs
    if (!stored) void this.#late.add(HOME.runInAsyncScope(() => untraced(() => this.#putDown(jobId, ended))));
  }

  async #putDown(jobId: string, ended: EndedJob): Promise<void> {
    for (const wait of LATE_MS) {
      await pause(wait);
      await quietly(`putting job ${jobId} down`, () => this.#store.putDown([[jobId, ended]]), undefined);
    }
  }
}
