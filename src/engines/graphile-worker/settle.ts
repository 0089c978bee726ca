import { setTimeout as pause } from "node:timers/promises";
import { quietly, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { InFlight } from "../../core/in-flight.js";
import type { Settlement } from "../engine.js";
import { nextAttempt } from "../envelope.js";
import { untraced } from "../untraced.js";
import type { EngineHelpers, GraphileJob } from "./library.js";
import type { EndedJob, NativeSpec, Store } from "./store.js";
import { keyOf, payloadWithNext, type ReceivedTask, reasonOf, runAtOf } from "./stored-task.js";

const MAX_RECENT = 1_000;
/** Waits between tries, together shorter than the e¹ seconds after which graphile-worker runs a failed job again. */
const UNLOCKED_AFTER_MS: readonly number[] = [10, 20, 40, 80, 160, 320, 640, 1_280];
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
    const { failure, stored } = ended;
    // a job without a key does not show whether its end is stored: graphile-worker runs it again
    if (!stored && key === null) return;
    this.#recent.keep(jobId, ended);
    // a worker that goes on after a lost answer is never retired, which would free its jobs
    if (!stored) void this.#late.add(HOME.runInAsyncScope(() => untraced(() => this.#putDown(jobId, ended))));
    // graphile-worker runs a failed job again that had no key to lose
    else if (failure !== undefined && key === null) void this.#late.add(this.#fail(jobId, failure));
  }

  #fail(jobId: string, reason: string): Promise<void> {
    return failForGood(jobId, () => this.#store.failUnlocked(jobId, reason));
  }

  async #putDown(jobId: string, ended: EndedJob): Promise<void> {
    for (const wait of LATE_MS) {
      await pause(wait);
      await quietly(`putting job ${jobId} down`, () => this.#store.putDown([[jobId, ended]]), undefined);
    }
  }
}

/**
 * Marks a job that is just failing as failed for good, as soon as graphile-worker has unlocked it: a locked one cannot
 * be. `fail` resolves to the jobs it marked. Never rejects. A task of graphile-worker's has no other way to give up, up to
 * 0.18 (https://github.com/graphile/worker/issues/148).
 */
export async function failForGood(jobId: string, fail: () => Promise<readonly unknown[]>): Promise<void> {
  for (const wait of UNLOCKED_AFTER_MS) {
    await pause(wait);
    if ((await quietly(`failing job ${jobId} for good`, fail, [])).length > 0) return;
  }
  warn(`job ${jobId} could not be failed for good: graphile-worker will run it again`);
}

/** Values by key, of which the oldest is forgotten when there are more than 1,000. */
export class Recent<V> {
  readonly #entries = new Map<string, V>();

  keep(key: string, value: V): void {
    this.#entries.set(key, value);
    if (this.#entries.size <= MAX_RECENT) return;
    const [oldest = ""] = this.#entries.keys();
    this.#entries.delete(oldest);
  }

  take(key: string): V | undefined {
    const value = this.#entries.get(key);
    this.#entries.delete(key);
    return value;
  }

  entries(): [string, V][] {
    return [...this.#entries];
  }
}
