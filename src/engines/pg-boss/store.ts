import { setTimeout as pause } from "node:timers/promises";
import { isTaskStoreError, TaskConfigError, TaskStoreError } from "../../core/errors.js";
import { quietly } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { whenAborted } from "../../core/when-aborted.js";
import type { EngineHost, Settlement, StoreAnswer, TaskMessage } from "../engine.js";
import { StoreLink } from "../link.js";
import { areTooLong, MOST_TOGETHER, Together } from "../together.js";
import {
  type BriefJob,
  claimsOf,
  dueTime,
  type FetchedJob,
  type FetchQuery,
  isMissing,
  isOutage,
  type JobQuery,
  listenTo,
  ownCall,
  type PgBossInstance,
  secondsUntil,
  takesClaims,
} from "./library.js";
import type { PgBossEngineSettings } from "./options.js";
import { type Ask, resettle, type Statements, settle } from "./settle.js";
import { isNew, type NewJob, newJob, Reader, type StoredTask } from "./stored-task.js";

/** At most one live job of a singletonKey, which is the task's id. */
const POLICY = "exclusive";
/**
 * All there are. Said so, PostgreSQL reads the tasks that are due in their order from the index also where it has no
 * statistics of the table yet; it would else sort the whole backlog in each look.
 */
const ANY_PRIORITY = { minPriority: -2_147_483_648, maxPriority: 2_147_483_647 };
/** For so long a task that is about to be cancelled cannot start. */
const CANCELLING_SECONDS = 60;
/** pg-boss may first have to make its tables, and PGlite itself. */
const STARTING_MS = 60_000;
const STOPPING_MS = 5_000;
/** Between two looks for what became of a request that was not answered. */
const LOOKING_MS = 500;
/** As many as a look brings of short tasks at a concurrency of 50. */
const MOST_ENDS = 200;
/** For so long an end waits for those before it to be stored, so that it goes in one statement with others. */
const PATIENCE_MS = 10;

/**
 * The pg-boss queue that holds an engine's tasks. Everything but `stop` rejects when pg-boss does, and with a
 * `TaskStoreError` where the store gives no answer.
 */
export class Store {
  readonly #settings: PgBossEngineSettings;
  readonly #link: StoreLink;
  /** A store in which no task can be looked for is not there, whatever it says to that. */
  readonly #fetching: StoreLink;
  readonly #reader: Reader;
  readonly #stopListening: () => void;
  readonly #adding = new Together<NewJob, boolean>((jobs) => this.#insert(jobs), isRefused, MOST_TOGETHER);
  readonly #completing = new Together<FetchedJob, boolean>(
    (jobs) => this.#complete(jobs),
    isRefused,
    MOST_ENDS,
    PATIENCE_MS,
  );
  /** The tasks that were fetched last are new, and there may be more of them. */
  #areNew = false;
  #started: Promise<void> | undefined;
  /** pg-boss may have connections. */
  #isUsed = false;
  #isStarted = false;
  #isStopped = false;

  constructor(host: EngineHost, settings: PgBossEngineSettings) {
    this.#settings = settings;
    this.#link = new StoreLink(host, isOutage);
    this.#fetching = new StoreLink(host, () => true);
    this.#reader = new Reader(settings);
    this.#stopListening = listenTo(settings.boss);
  }

  /** Says which tasks are registered here. */
  serve(names: readonly string[]): void {
    this.#reader.serve(names);
  }

  /** Starts pg-boss and makes the queue, once; another call after a failure tries again. `undefined` once it has. */
  connect(): Promise<void> | undefined {
    return this.#isStarted ? undefined : this.start();
  }

  /** As {@link connect}, always by a promise. */
  start(): Promise<void> {
    if (this.#isStopped) return Promise.reject(new TaskStoreError("the engine is closed", { stored: false }));
    this.#started ??= HOME.runInAsyncScope(() => this.#link.await(() => this.#start(), STARTING_MS)).catch(
      (error: unknown) => {
        this.#started = undefined;
        throw error;
      },
    );
    return this.#started;
  }

  /** Stores a task; false where one of its id is live. */
  add(message: TaskMessage): Promise<boolean> {
    return this.#adding.ask(newJob(message, this.#settings));
  }

  /** Claims tasks that are due, however late the store answers. */
  async fetch(limit: number, exceptNames: string[]): Promise<StoredTask[]> {
    const query = { batchSize: limit, ignoreGroups: exceptNames, ...ANY_PRIORITY };
    return await (this.#areNew ? this.#fetchNew(query) : this.#fetchAny(query));
  }

  /** Says that claimed tasks are still running. */
  async touch(jobs: readonly FetchedJob[]): Promise<void> {
    await this.#ask((boss, queue) => boss.touch(queue, claimsOf(jobs)));
  }

  /** Stores how an attempt of a claimed task ended; may be called again after a rejection. */
  settle(task: StoredTask, end: Settlement): Promise<StoreAnswer> {
    return settle(this.#statements, task, end);
  }

  /** Stores the rest of the end before, of a task that is `unsettled`; may be called again after a rejection. */
  resettle(task: StoredTask): Promise<StoreAnswer> {
    return resettle(this.#ask, task);
  }

  /** Asks until the store answers; rejects with a refusal, or when the store was stopped. */
  async untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!isTaskStoreError(error) || this.#isStopped) throw error;
        await pause(LOOKING_MS, undefined, { ref: false });
      }
    }
  }

  /** Takes a task that waits out of the queue for good; `undefined` where none does, or another caller has taken it. */
  async take(taskId: string): Promise<StoredTask | undefined> {
    // no task has it as its id, and other producers' jobs may have it as their key
    if (taskId === "") return undefined;
    const found = await this.#findWaiting({ key: taskId, limit: 1 });
    if (found === undefined || !(await this.#putOff(found))) return undefined;
    // it may have run in between, but does not any more
    const task = await this.#findWaiting({ id: found.job.id });
    if (task === undefined) return undefined;
    return (await this.#cancel(task.job)) ? task : undefined;
  }

  /** 1 where tasks are queued or wait for their retry, however many: pg-boss has no cheap count of them. */
  async countQueued(): Promise<number> {
    return (await this.#find({ queued: true, limit: 1 })) === undefined ? 0 : 1;
  }

  /** Stops pg-boss, unless others use it; waits a few seconds at most. To be called once. */
  async stop(): Promise<void> {
    const { boss, shared } = this.#settings;
    this.#isStopped = true;
    const isOwn = this.#isUsed && !shared;
    const stop = async (): Promise<void> => void (isOwn && (await boss.stop({ timeout: STOPPING_MS })));
    // errors are listened to until pg-boss has stopped, also where nobody waits for that any more
    const stopping = quietly("stopping pg-boss", stop, undefined).then(this.#stopListening);
    await Promise.race([stopping, whenAborted(AbortSignal.timeout(2 * STOPPING_MS))]);
  }

  // A task that gave up is queued for a moment, until the rest of that is stored.
  async #findWaiting(query: JobQuery): Promise<StoredTask | undefined> {
    const job = await this.#find({ ...query, queued: true });
    const task = job && (await this.#reader.read(job));
    return task?.unsettled === true && task.progress?.ended === true ? undefined : task;
  }

  // pg-boss cancels jobs that run as well (timgit/pg-boss#384): a job is first kept from being started, which works
  // only where it waits. It never starts early by that.
  async #putOff({ job }: StoredTask): Promise<boolean> {
    const startAfter = Math.max(CANCELLING_SECONDS, secondsUntil(dueTime(job.startAfter) ?? 0));
    const { jobs } = await this.#ask((boss, queue) => boss.update(queue, undefined, { id: job.id, startAfter }));
    return jobs.length > 0;
  }

  // Where several callers cancel a task at once, one of them has changed the job. Who gets no answer looks again, and
  // takes the change for its own.
  async #cancel({ id }: FetchedJob): Promise<boolean> {
    try {
      return (await this.#ask((boss, queue) => boss.cancel(queue, id))).affected !== 0;
    } catch (error) {
      if (!isTaskStoreError(error)) throw error;
      const job = await this.untilAnswered(() => this.#find({ id }));
      if (job?.state === "cancelled") return true;
      throw error;
    }
  }

  async #fetchAny(query: FetchQuery): Promise<StoredTask[]> {
    const whole = { ...query, includeMetadata: true } as const;
    const jobs = await this.#fetching.await(this.#onQueue((boss, queue) => boss.fetch(queue, ownCall(whole))));
    this.#areNew = jobs.length === query.batchSize && jobs.every((job) => takesClaims(job) && isNew(job));
    return await Promise.all(jobs.map((job) => this.#reader.read(job)));
  }

  // Metadata are most of a job's columns, and say nothing of a new one. Of the others in between they are asked for.
  async #fetchNew(query: FetchQuery): Promise<StoredTask[]> {
    const jobs = await this.#fetching.await(this.#onQueue((boss, queue) => boss.fetch(queue, ownCall(query))));
    this.#areNew = jobs.length === query.batchSize;
    const read = (job: BriefJob): StoredTask | Promise<StoredTask | undefined> => {
      if (isNew(job)) return this.#reader.readNew(job);
      this.#areNew = false;
      return this.#readClaimed(job);
    };
    return (await Promise.all(jobs.map(read))).filter((task) => task !== undefined);
  }

  async #readClaimed({ id, retryCount }: BriefJob): Promise<StoredTask | undefined> {
    const find = (): Promise<FetchedJob | undefined> => this.untilAnswered(() => this.#find({ id }));
    const job = await quietly("looking for a task that was fetched", find, undefined);
    return job?.state === "active" && job.retryCount === retryCount ? await this.#reader.read(job) : undefined;
  }

  async #find(query: JobQuery): Promise<FetchedJob | undefined> {
    return (await this.#ask((boss, queue) => boss.findJobs(queue, query)))[0];
  }

  readonly #ask: Ask = (statement) => this.#link.ask(this.#onQueue(statement));

  readonly #statements: Statements = { ask: this.#ask, complete: (job) => this.#completing.ask(job) };

  // One statement for all. It names those that it has stored: of the others, a task of the same id is live.
  async #insert(jobs: readonly NewJob[]): Promise<boolean[]> {
    const inserted = await this.#ask((boss, queue) =>
      boss.insert(queue, [...jobs], ownCall({ returnId: true as const })),
    );
    const ids = new Set(inserted);
    return jobs.map(({ id }) => ids.has(id));
  }

  // One statement for all, which says how many it has changed, and not which.
  async #complete(jobs: readonly FetchedJob[]): Promise<boolean[]> {
    const { affected } = await this.#ask((boss, queue) => boss.complete(queue, claimsOf(jobs)));
    return jobs.map(() => affected === jobs.length);
  }

  // A database that was dropped and made again has neither pg-boss's tables nor the queue: they are made again, once
  // however many requests find that out.
  #onQueue<T>(statement: (boss: PgBossInstance, queue: string) => Promise<T>): () => Promise<T> {
    const { boss, queue } = this.#settings;
    return async () => {
      const started = this.#started;
      try {
        return await statement(boss, queue);
      } catch (error) {
        if (!isMissing(error)) throw error;
        if (this.#started === started) this.#started = undefined;
        await this.start();
        return await statement(boss, queue);
      }
    };
  }

  // pg-boss makes its tables where it starts, and starts once: it is stopped before, which others who use it would feel.
  async #start(): Promise<void> {
    const { boss, shared } = this.#settings;
    this.#isUsed = true;
    await boss.start().catch(async (error: unknown) => {
      // one that has started half-way leaves timers running, which its next start forgets
      if (!shared) await quietly("stopping pg-boss", () => boss.stop({ graceful: false }), undefined);
      throw error;
    });
    try {
      await this.#makeQueue();
    } catch (error) {
      if (shared || !isMissing(error)) throw error;
      await boss.stop({ graceful: false });
      await boss.start();
      await this.#makeQueue();
    }
    this.#isStarted = true;
  }

  async #makeQueue(): Promise<void> {
    const { boss, queue } = this.#settings;
    await boss.createQueue(queue, { policy: POLICY });
    const policy = (await boss.getQueue(queue))?.policy;
    if (policy === POLICY) return;
    throw new TaskConfigError(`queue: expected one with the policy "${POLICY}", received one with another`);
  }
}

// A store that gives no answer gives none to each of them.
function isRefused(error: unknown): boolean {
  return !isTaskStoreError(error) || areTooLong(error);
}
