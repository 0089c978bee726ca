import { setTimeout as wait } from "node:timers/promises";
import { TaskManagerClosedError } from "../../core/errors.js";
import { HOME } from "../../core/home.js";
import { within } from "../../core/within.js";
import type { EngineHost, TaskMessage } from "../engine.js";
import { untraced } from "../untraced.js";
import { type BullmqQueue, type BullmqStoredJob, withdraw } from "./library.js";
import type { BullmqEngineSettings } from "./options.js";
import { Outages } from "./outages.js";
import { BACKOFF, type BullmqJob, hasStamp, isSameTask, jobIdsOf, taskData } from "./stored-task.js";

const WAITING: readonly string[] = ["waiting", "delayed", "prioritized"];
const ENDED: readonly string[] = ["completed", "failed"];
const ACTIVE = "active";
/** The state of a job that is in no list of BullMQ's: it has been withdrawn, and is about to be removed. */
const WITHDRAWN = "unknown";
/** Redis 6 and 7 say so where a command for one type of value is given a key that has another. */
const WRONG_TYPE = "WRONGTYPE";
const ANSWER_MS = 1_000;
const CLOSE_MS = 5_000;
/** How long a job that has been removed may still turn up in this process. */
const LATE_MS = 2_000;

type JobId = string | undefined;

/** The tasks of one queue, seen from outside of any worker. Connects when it is first used. */
export class Store {
  readonly outages: Outages;
  readonly #settings: BullmqEngineSettings;
  /** Ends what waits for a server that may never answer. */
  readonly #unanswered = new Set<(error: Error) => void>();
  /** By the id under which a job is being added or removed here: until when. */
  readonly #changing = new Map<string, Promise<unknown>>();
  /** By the id under which a job is being removed: until when. */
  readonly #leaving = new Map<JobId, Promise<unknown>>();
  /** Jobs that were removed a moment ago. */
  readonly #gone = new Map<JobId, BullmqJob>();
  #queue: BullmqQueue | undefined;
  #closed = false;

  constructor(settings: BullmqEngineSettings, host: EngineHost) {
    this.#settings = settings;
    this.outages = new Outages(host, () => this.countLive());
  }

  get isOpen(): boolean {
    return this.#queue !== undefined && !this.#closed;
  }

  /** False when a task of that id is live already. */
  async add(message: TaskMessage): Promise<boolean> {
    const [id = "", ...others] = jobIdsOf(message.origin.id);
    if (message.fresh) {
      await this.#add(id, message, undefined);
      return true;
    }
    return await this.#oneAfterTheOther(id, async () => {
      for (const one of [id, ...others]) if (!(await this.#makeFree(one))) return false;
      const stamp = crypto.randomUUID();
      await this.#add(id, message, stamp);
      return await this.#isStored(id, stamp);
    });
  }

  /**
   * Removes a job that no worker holds, and returns it; `undefined` where there is none such, "active" where a worker
   * holds it. Whoever calls this has looked, in the same turn, that the job is not being run here.
   */
  async remove(id: string): Promise<BullmqStoredJob | "active" | undefined> {
    const removal = this.#oneAfterTheOther(id, () => this.#remove(id));
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

  /** Tasks that have not ended, in whatever process they run. */
  async countLive(): Promise<number> {
    const counts = await this.#ask((queue) => untraced(() => queue.getJobCounts()));
    const live = Object.entries(counts).filter(([state]) => !ENDED.includes(state));
    return live.reduce((sum, [, count]) => sum + count, 0);
  }

  /** Whether the server answers, and soon. */
  answers(): Promise<boolean> {
    return within(
      ANSWER_MS,
      this.countLive().then(() => true),
      false,
    );
  }

  /** Gives up the connection; what waits for an answer rejects. */
  async close(graceful: boolean): Promise<void> {
    this.#closed = true;
    this.outages.stop();
    if (this.#queue !== undefined) await closeQueue(this.#queue, graceful);
    for (const reject of this.#unanswered) reject(closedError());
  }

  async #add(jobId: string, message: TaskMessage, stamp: string | undefined): Promise<void> {
    const { name, maxAttempts = 1, enqueuedAt = 0, dueAt = enqueuedAt } = message.origin;
    // rounded up: no task starts early
    const delay = Math.ceil(dueAt - enqueuedAt);
    const options = { jobId, attempts: maxAttempts, backoff: BACKOFF, delay };
    await this.#ask((queue) => queue.add(name, taskData(message, stamp), options));
  }

  async #remove(id: string): Promise<BullmqStoredJob | "active" | undefined> {
    const job = await this.#find(id);
    const state = job && (await this.#ask(() => job.getState()));
    if (job === undefined || state === undefined || !WAITING.includes(state))
      return state === ACTIVE ? ACTIVE : undefined;
    const withdrawn = await this.#ask((queue) => withdraw(queue, id));
    if (withdrawn === false) return ACTIVE;
    // asked to remove children as well, BullMQ 6.7 on PostgreSQL says 1 to each of several who remove one job at once
    const removed = await this.#ask((queue) => queue.remove(id, { removeChildren: withdrawn === true }));
    if (removed === 0 && withdrawn === undefined) return ACTIVE;
    this.#leaveOut(id, job);
    return job;
  }

  // On PostgreSQL, as of BullMQ 6.7, a job can be removed that a worker has just been given: it looks at the job's lock
  // and deletes the job in two steps.
  #leaveOut(id: string, job: BullmqJob): void {
    this.#gone.set(id, job);
    HOME.runInAsyncScope(() => setTimeout(() => this.#gone.delete(id), LATE_MS).unref());
  }

  // Two tasks of one id that are added at the same time would both find it free, and a removal would hit another task
  // than the one it has found.
  async #oneAfterTheOther<T>(id: string, change: () => Promise<T>): Promise<T> {
    const before = this.#changing.get(id);
    const changed = before === undefined ? change() : before.then(change, change);
    this.#changing.set(id, changed);
    try {
      return await changed;
    } finally {
      if (this.#changing.get(id) === changed) this.#changing.delete(id);
    }
  }

  // A key of BullMQ's own is no job, whatever BullMQ makes of it.
  async #find(id: string): Promise<BullmqStoredJob | undefined> {
    try {
      const job = await this.#ask((queue) => queue.getJob(id));
      return typeof job?.name === "string" ? job : undefined;
    } catch (error) {
      if (error instanceof Error && error.message.includes(WRONG_TYPE)) return undefined;
      throw error;
    }
  }

  // A task that has ended may still be kept, and must not stand in the way of another.
  async #makeFree(id: string): Promise<boolean> {
    const job = await this.#find(id);
    if (job === undefined) return true;
    const state = await this.#ask(() => job.getState());
    // whoever withdrew it may have died before removing it
    if (state === WITHDRAWN) await wait(LATE_MS);
    else if (!ENDED.includes(state)) return false;
    await this.#ask((queue) => queue.remove(id));
    return true;
  }

  // Adding tells nothing where a job of that id was there; one that is gone again had been stored.
  async #isStored(id: string, stamp: string): Promise<boolean> {
    const job = await this.#ask((queue) => queue.getJob(id));
    return job === undefined || hasStamp(job, stamp);
  }

  async #ask<T>(question: (queue: BullmqQueue) => Promise<T>): Promise<T> {
    const answer = question(this.#open());
    return await new Promise((resolve, reject) => {
      this.#unanswered.add(reject);
      const refuse = (error: unknown): void => {
        this.outages.noAnswer(error);
        reject(error);
      };
      answer.then(resolve, refuse).then(() => this.#unanswered.delete(reject));
    });
  }

  #open(): BullmqQueue {
    if (this.#closed) throw closedError();
    this.#queue ??= HOME.runInAsyncScope(() => this.#openQueue());
    return this.#queue;
  }

  #openQueue(): BullmqQueue {
    const { Queue, queue: name, queueOptions } = this.#settings;
    // options of this very class, as the application gave them
    const queue = new Queue(name, queueOptions as never);
    queue.on("error", (error) => this.outages.reported(`the BullMQ queue ${name}`, error));
    queue.waitUntilReady().catch(() => this.#discard(queue));
    return queue;
  }

  // A queue that could not be reached at first, as on a schema that is missing, never can be: the next question opens
  // another one.
  #discard(queue: BullmqQueue): void {
    if (this.#queue === queue) this.#queue = undefined;
    void closeQueue(queue, false);
  }
}

async function closeQueue(queue: BullmqQueue, graceful: boolean): Promise<void> {
  if (
    graceful &&
    (await within(
      CLOSE_MS,
      queue.close().then(() => true),
      false,
    ))
  )
    return;
  // a connection that was never made is given up by the one, a lost one by the other; neither may ever resolve
  queue.disconnect().catch(() => {});
  queue.close().catch(() => {});
}

function closedError(): TaskManagerClosedError {
  return new TaskManagerClosedError("the connection was given up before the server had answered");
}
