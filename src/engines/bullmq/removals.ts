import { HOME } from "../../core/home.js";
import { type BullmqQueue, type BullmqStoredJob, withdraw } from "./library.js";
import type { Store } from "./store.js";
import { type BullmqJob, isSameTask } from "./stored-task.js";

const WAITING: readonly string[] = ["waiting", "delayed", "prioritized"];
export const ACTIVE = "active";
/** The state of a job that is in no list of BullMQ's: it has been withdrawn, and is about to be removed. */
export const WITHDRAWN = "unknown";
/** How long a job that has been removed may still turn up in this process. */
export const LATE_MS = 2_000;

type JobId = string | undefined;

/** A removal whose answer may have been lost. */
interface Removal {
  readonly job: BullmqStoredJob;
  /** Says in Redis whose removal it is. */
  readonly token: string;
  /** Whether the job may be gone by it. */
  mayBeGone: boolean;
}

/** Takes jobs that wait out of a queue, and keeps those from being run here that a worker had got meanwhile. */
export class Removals {
  readonly #store: Store;
  /** By the id under which a job is being removed: until when. */
  readonly #leaving = new Map<JobId, Promise<unknown>>();
  /** Jobs that were removed a moment ago. */
  readonly #gone = new Map<JobId, BullmqJob>();
  /** By the job's id. */
  readonly #begun = new Map<string, Removal>();

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Removes a job that no worker holds, and returns it; `undefined` where there is none such, "active" where a worker
   * holds it. Whoever calls this has looked, in the same turn, that the job is not being run here. Called again after a
   * rejection, it returns the job that is gone by then.
   */
  async remove(id: string): Promise<BullmqStoredJob | "active" | undefined> {
    const removal = this.#store.change(id, () => this.#remove(id));
    this.#leaving.set(id, removal);
    try {
      return await removal;
    } finally {
      if (this.#leaving.get(id) === removal) this.#leaving.delete(id);
    }
  }

  /** Whether a job under this one's id is just being removed; {@link left} waits for that. */
  isLeaving({ id }: BullmqJob): boolean {
    return this.#leaving.has(id);
  }

  async left({ id }: BullmqJob): Promise<void> {
    await Promise.allSettled([this.#leaving.get(id)]);
  }

  /** Whether a job that a worker was given has been removed by then: no attempt of it may start. */
  hasLeft(job: BullmqJob): boolean {
    const gone = this.#gone.get(job.id);
    return gone !== undefined && isSameTask(gone, job);
  }

  async #remove(id: string): Promise<BullmqStoredJob | "active" | undefined> {
    const begun = this.#begun.get(id);
    const job = await this.#store.find(id);
    const isBegun = begun !== undefined && job !== undefined && isSameTask(begun.job, job);
    // in Redis nobody else can have removed it; in PostgreSQL nobody can say who has
    if (begun?.mayBeGone === true && !isBegun) return this.#leaveOut(id, begun.job);
    const state = job && (await this.#store.await(() => job.getState()));
    const mayGo = state !== undefined && (WAITING.includes(state) || (isBegun && state === WITHDRAWN));
    if (job !== undefined && mayGo) return await this.#takeOut(id, isBegun ? begun : removalOf(job));
    this.#begun.delete(id);
    return state === ACTIVE ? ACTIVE : undefined;
  }

  async #takeOut(id: string, removal: Removal): Promise<BullmqStoredJob | "active"> {
    this.#begun.set(id, removal);
    const withdrawn = await this.#store.await((queue) => withdraw(queue, id, removal.token));
    removal.mayBeGone = withdrawn !== false;
    // asked to remove children as well, BullMQ 6.7 on PostgreSQL says 1 to each of several who remove one job at once
    const remove = (queue: BullmqQueue): Promise<number> => queue.remove(id, { removeChildren: withdrawn === true });
    const isOurs = withdrawn !== false && ((await this.#store.await(remove)) > 0 || withdrawn === true);
    if (isOurs) return this.#leaveOut(id, removal.job);
    this.#begun.delete(id);
    return ACTIVE;
  }

  // On PostgreSQL, as of BullMQ 6.7, a job can be removed that a worker has just been given: it looks at the job's lock
  // and deletes the job in two steps.
  #leaveOut(id: string, job: BullmqStoredJob): BullmqStoredJob {
    this.#begun.delete(id);
    this.#gone.set(id, job);
    HOME.runInAsyncScope(() => setTimeout(() => this.#gone.delete(id), LATE_MS).unref());
    return job;
  }
}

function removalOf(job: BullmqStoredJob): Removal {
  return { job, token: crypto.randomUUID(), mayBeGone: false };
}
