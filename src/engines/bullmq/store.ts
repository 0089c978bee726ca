import { setTimeout as wait } from "node:timers/promises";
import { isTaskStoreError, TaskManagerClosedError, TaskStoreError } from "../../core/errors.js";
import { debug, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { within } from "../../core/within.js";
import type { EngineHost, TaskMessage } from "../engine.js";
import { StoreLink } from "../link.js";
import { Together } from "../together.js";
import { untraced } from "../untraced.js";
import {
  type BullmqQueue,
  type BullmqStoredJob,
  closeQueue,
  hearConnections,
  isConnected,
  isOutage,
  isRefusalOfAll,
  markAsEngines,
  type NewJob,
  redisOf,
} from "./library.js";
import type { BullmqEngineSettings } from "./options.js";
import { LATE_MS, Removals, WITHDRAWN } from "./removals.js";
import { BACKOFF, hasStamp, jobIdsOf, taskData } from "./stored-task.js";

const ENDED: readonly string[] = ["completed", "failed"];
/** Redis 6 and 7 say so where a command for one type of value is given a key that has another. */
const WRONG_TYPE = "WRONGTYPE";
const POLL_MS = 1_000;
const ANSWER_MS = 1_000;
/** Jobs of one request: the server works on one request while this process makes the next. */
const MOST_ADDED = 20;
/** Options of jobs that have no part in whether BullMQ takes them. */
const SAY_WHAT_IS_KEPT: readonly string[] = ["removeOnComplete", "removeOnFail"];

/** The tasks of one queue, seen from outside of any worker. Connects when it is first used. */
export class Store {
  readonly link: StoreLink;
  readonly removals: Removals;
  readonly #outages: Outages;
  readonly #settings: BullmqEngineSettings;
  readonly #adding: Together<NewJob, unknown>;
  /** By the id under which a job is being added or removed here: until when. */
  readonly #changing = new Map<string, Promise<unknown>>();
  #queue: BullmqQueue | undefined;
  #connecting: Promise<void> | undefined;
  /** Whether the queue has a connection now; `undefined` before it has had one. */
  #isConnected: (() => boolean) | undefined;
  #closed = false;

  constructor(settings: BullmqEngineSettings, host: EngineHost) {
    this.#settings = settings;
    this.#outages = new Outages(host, () => this.countLive());
    this.link = new StoreLink(this.#outages, isOutage);
    this.removals = new Removals(this);
    this.#adding = new Together((jobs) => this.#addAll(jobs), isRefusalOfAll, mostAtOnce(settings));
  }

  get isOpen(): boolean {
    return this.#queue !== undefined && !this.#closed;
  }

  /**
   * Resolves when the server can be asked, as far as that is known: what is added before would wait for it, however long.
   * Rejects with a `TaskStoreError` after 10 s.
   */
  connect(): void | Promise<void> {
    if (this.#isConnected?.() === true) return;
    this.#connecting ??= storingNothing(() => this.#connect()).finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  /** False when a task of that id is live already. */
  async add(message: TaskMessage): Promise<boolean> {
    const ids = jobIdsOf(message.origin.id);
    const [id = ""] = ids;
    if (message.fresh) return await this.#add(id, message, undefined);
    return await this.change(id, async () => {
      if (!(await storingNothing(() => this.#makeAllFree(ids)))) return false;
      return await this.#add(id, message, crypto.randomUUID());
    });
  }

  /** The job of this id. A key of BullMQ's own is none, whatever BullMQ makes of it. */
  async find(id: string): Promise<BullmqStoredJob | undefined> {
    try {
      const job = await this.#ask((queue) => queue.getJob(id));
      return typeof job?.name === "string" ? job : undefined;
    } catch (error) {
      if (error instanceof Error && error.message.includes(WRONG_TYPE)) return undefined;
      throw error;
    }
  }

  /**
   * Adds or removes a job of this id when no other change of it goes on here. Two tasks of one id that are added at the
   * same time would both find it free, and a removal would hit another task than the one it has found.
   */
  async change<T>(id: string, change: () => Promise<T>): Promise<T> {
    const before = this.#changing.get(id);
    const changed = before === undefined ? change() : before.then(change, change);
    this.#changing.set(id, changed);
    try {
      return await changed;
    } finally {
      if (this.#changing.get(id) === changed) this.#changing.delete(id);
    }
  }

  /** Asks the server for a change that matters however late it is answered. */
  await<T>(question: (queue: BullmqQueue) => Promise<T>): Promise<T> {
    return this.link.await(async () => await question(this.#open()));
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
    this.#outages.stop();
    if (this.#queue !== undefined) await closeQueue(this.#queue, graceful);
  }

  /** A connection, or `what` uses it, has reported an error. */
  reported(what: string, error: unknown): void {
    if (isOutage(error)) this.#outages.storeLost(error);
    else warn(`${what} reports an error`, error);
  }

  async #add(jobId: string, message: TaskMessage, stamp: string | undefined): Promise<boolean> {
    const { name, maxAttempts = 1, enqueuedAt = 0, dueAt = enqueuedAt } = message.origin;
    // rounded up: no task starts early
    const delay = Math.ceil(dueAt - enqueuedAt);
    const opts = { jobId, attempts: maxAttempts, backoff: BACKOFF, delay };
    const job = { name, data: taskData(message, stamp), opts };
    try {
      await (stamp === undefined ? this.#adding.ask(job) : this.#addAll([job]));
    } catch (error) {
      // it may be there all the same
      if (!isTaskStoreError(error) || error.stored === false) throw error;
      const job = await this.find(jobId).catch(() => undefined);
      if (job === undefined) throw error;
      return hasStamp(job, stamp);
    }
    return stamp === undefined || (await this.#isStored(jobId, stamp));
  }

  async #addAll(jobs: readonly NewJob[]): Promise<unknown[]> {
    const [job] = jobs;
    try {
      return await this.#ask(async (queue) => {
        if (job === undefined || jobs.length > 1) return await queue.addBulk([...jobs]);
        return [await queue.add(job.name, job.data, job.opts)];
      });
    } catch (error) {
      if (jobs.length === 1 || isTaskStoreError(error) || isRefusalOfAll(error)) throw error;
      // Redis takes each job by itself: some may be there, though another was refused
      throw new TaskStoreError("the store refused tasks that were added at the same moment", { cause: error });
    }
  }

  async #makeAllFree(ids: readonly string[]): Promise<boolean> {
    for (const id of ids) if (!(await this.#makeFree(id))) return false;
    return true;
  }

  // A task that has ended may still be kept, and must not stand in the way of another.
  async #makeFree(id: string): Promise<boolean> {
    const job = await this.find(id);
    if (job === undefined) return true;
    const state = await this.#ask(() => job.getState());
    if (state === WITHDRAWN) {
      if ((await this.find(id)) === undefined) return true; // it has ended meanwhile
      // whoever withdrew it may have died before removing it
      await wait(LATE_MS);
    } else if (!ENDED.includes(state)) return false;
    await this.#ask((queue) => queue.remove(id));
    return true;
  }

  // Adding tells nothing where a job of that id was there; one that is gone again had been stored.
  async #isStored(id: string, stamp: string): Promise<boolean> {
    const job = await this.#ask((queue) => queue.getJob(id));
    return job === undefined || hasStamp(job, stamp);
  }

  #ask<T>(question: (queue: BullmqQueue) => Promise<T>): Promise<T> {
    return this.link.ask(async () => await question(this.#open()));
  }

  async #connect(): Promise<void> {
    await this.#ask((queue) => queue.waitUntilReady());
    const redis = await this.#ask(redisOf);
    this.#isConnected = () => redis === undefined || isConnected(redis);
    if (!this.#isConnected()) await this.#ask(() => new Promise<void>((resolve) => redis?.once("ready", resolve)));
  }

  #open(): BullmqQueue {
    if (this.#closed) throw new TaskManagerClosedError("the connection was given up");
    this.#queue ??= HOME.runInAsyncScope(() => this.#openQueue());
    return this.#queue;
  }

  #openQueue(): BullmqQueue {
    const { Queue, queue: name, queueOptions } = this.#settings;
    // options of this very class, as the application gave them
    const queue = markAsEngines(new Queue(name, queueOptions as never));
    hearConnections(queue);
    queue.on("error", (error) => this.reported(`the BullMQ queue ${name}`, error));
    queue.waitUntilReady().catch(() => this.#discard(queue));
    return queue;
  }

  // A queue that could not be reached at first, as on a schema that is missing, never can be: the next question opens
  // another one.
  #discard(queue: BullmqQueue): void {
    if (this.#queue === queue) {
      this.#queue = undefined;
      this.#isConnected = undefined;
    }
    void closeQueue(queue, false);
  }
}

// What fails here has certainly stored nothing.
async function storingNothing<T>(look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (!isTaskStoreError(error)) throw error;
    throw new TaskStoreError(error.message, { stored: false, cause: error.cause });
  }
}

// BullMQ's own telemetry gives all jobs of a request one trace, and a job may have options by which it alone is refused.
function mostAtOnce({ queueOptions }: BullmqEngineSettings): number {
  const { telemetry, defaultJobOptions } = queueOptions as { telemetry?: unknown; defaultJobOptions?: object };
  const isPlain = Object.keys({ ...defaultJobOptions }).every((key) => SAY_WHAT_IS_KEPT.includes(key));
  return telemetry === undefined && isPlain ? MOST_ADDED : 1;
}

/** Tells the host that the server has gone, and then asks until it answers again. */
class Outages implements Pick<EngineHost, "storeLost" | "storeBack"> {
  readonly #host: EngineHost;
  readonly #question: () => Promise<unknown>;
  #asking = false;
  #over = false;

  /** `question` resolves once the server answers, and tells that itself. */
  constructor(host: EngineHost, question: () => Promise<unknown>) {
    this.#host = host;
    this.#question = question;
  }

  /** No answer is waited for any more. */
  stop(): void {
    this.#over = true;
  }

  storeLost(error: unknown): void {
    if (this.#over) return;
    this.#host.storeLost(error);
    if (!this.#asking) void HOME.runInAsyncScope(() => this.#askAgain());
  }

  storeBack(): void {
    if (!this.#over) this.#host.storeBack();
  }

  async #askAgain(): Promise<void> {
    this.#asking = true;
    while (!this.#over) {
      await wait(POLL_MS, undefined, { ref: false });
      try {
        await this.#question();
        break;
      } catch (error) {
        debug("BullMQ's server still does not answer", error);
      }
    }
    this.#asking = false;
  }
}
