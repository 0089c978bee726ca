import { addressee } from "../../core/carrier.js";
import { isTaskConfigError, TaskConfigError } from "../../core/errors.js";
import { quietly } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { whenAborted } from "../../core/when-aborted.js";
import type { EngineHost, Settlement, TaskMessage } from "../engine.js";
import { Carriers } from "./carriers.js";
import { claimOf, dueTime, type FetchedJob, isOutage, type JobQuery, listenTo } from "./library.js";
import type { PgBossEngineSettings } from "./options.js";
import { resettle, SPARE_CLAIMS, secondsUntil, settle } from "./settle.js";
import { carrierIn, dataOf, readJob, type StoredTask } from "./stored-task.js";

/** At most one live job of a singletonKey, which is the task's id. */
const POLICY = "exclusive";
/** pg-boss waits this long before a lost job starts again. */
const RETRY_DELAY_SECONDS = 1;
/** Ten years: pg-boss deletes what waited for longer than this, and tells no one. */
const RETENTION_SECONDS = 315_360_000;
/** For so long a task that is about to be cancelled cannot start. */
const CANCELLING_SECONDS = 60;
const STOPPING_MS = 5_000;

/** The pg-boss queue that holds an engine's tasks. Everything but `stop` rejects when pg-boss does. */
export class Store {
  readonly #host: EngineHost;
  readonly #settings: PgBossEngineSettings;
  readonly #carriers: Carriers;
  readonly #stopListening: () => void;
  /** The queue's name, where a task that is registered here has it too. */
  #ownTask: string | undefined;
  #started: Promise<void> | undefined;

  constructor(host: EngineHost, settings: PgBossEngineSettings) {
    this.#host = host;
    this.#settings = settings;
    this.#carriers = new Carriers(settings.boss, settings.queue);
    this.#stopListening = listenTo(settings.boss);
  }

  /** Says which tasks are registered here. */
  serve(names: readonly string[]): void {
    this.#ownTask = names.find((name) => name === this.#settings.queue);
  }

  /** Starts pg-boss and makes the queue, once; another call after a failure tries again. */
  start(): Promise<void> {
    this.#started ??= HOME.runInAsyncScope(() => this.#ask(() => this.#start())).catch((error: unknown) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  /** Stores a task; false where one of its id is live. */
  async add(message: TaskMessage): Promise<boolean> {
    const { boss, queue, expireInSeconds, heartbeatSeconds } = this.#settings;
    const { id, name, enqueuedAt = 0, dueAt = enqueuedAt } = message.origin;
    const options = {
      // pg-boss takes UUIDs only, and keeps the job of a task that has ended
      ...(message.fresh && { id }),
      ...(dueAt > enqueuedAt && { startAfter: secondsUntil(dueAt) }),
      singletonKey: id,
      group: { id: name },
      retryLimit: SPARE_CLAIMS,
      retryDelay: RETRY_DELAY_SECONDS,
      retryBackoff: false,
      retentionSeconds: RETENTION_SECONDS,
      expireInSeconds,
      heartbeatSeconds,
    };
    return (await this.#ask(() => boss.send(queue, dataOf(message), options))) !== null;
  }

  /** Claims tasks that are due. */
  async fetch(limit: number, exceptNames: string[]): Promise<StoredTask[]> {
    const { boss, queue } = this.#settings;
    const query = { batchSize: limit, includeMetadata: true, ignoreGroups: exceptNames } as const;
    const jobs = await this.#ask(() => boss.fetch(queue, query));
    return await Promise.all(jobs.map((job) => this.#read(job)));
  }

  /** Says that a claimed task is still running. */
  async touch(job: FetchedJob): Promise<void> {
    await this.#settings.boss.touch(this.#settings.queue, claimOf(job));
  }

  /** Stores how an attempt of a claimed task ended. */
  async settle(task: StoredTask, end: Settlement): Promise<void> {
    await this.#ask(() => settle(this.#settings.boss, this.#settings.queue, task, end));
  }

  /** Stores the rest of the end before, of a task that is `unsettled`. */
  async resettle(task: StoredTask): Promise<void> {
    await this.#ask(() => resettle(this.#settings.boss, this.#settings.queue, task));
  }

  /** Takes a task that waits out of the queue for good; `undefined` where none does, or another caller has taken it. */
  async take(taskId: string): Promise<StoredTask | undefined> {
    // no task has it as its id, and other producers' jobs may have it as their key
    if (taskId === "") return undefined;
    const { boss, queue } = this.#settings;
    const found = await this.#findWaiting({ key: taskId, limit: 1 });
    if (found === undefined || !(await this.#putOff(found))) return undefined;
    // it may have run in between, but does not any more
    const task = await this.#findWaiting({ id: found.job.id });
    if (task === undefined) return undefined;
    // where several callers cancel a task at once, one of them has changed the job
    const { affected } = await this.#ask(() => boss.cancel(queue, task.job.id));
    return affected === 0 ? undefined : task;
  }

  /** 1 where tasks are queued or wait for their retry, however many: pg-boss has no cheap count of them. */
  async countQueued(): Promise<number> {
    const { boss, queue } = this.#settings;
    return (await this.#ask(() => boss.findJobs(queue, { queued: true, limit: 1 }))).length === 0 ? 0 : 1;
  }

  /** Stops pg-boss, unless others use it; waits a few seconds at most. To be called once. */
  async stop(): Promise<void> {
    const { boss, shared } = this.#settings;
    const started = shared ? undefined : this.#started;
    // errors are listened to until pg-boss has stopped, also where nobody waits for that any more
    const stopping = Promise.resolve(started?.then(() => boss.stop({ timeout: STOPPING_MS }))).finally(
      this.#stopListening,
    );
    await Promise.race([stopping, whenAborted(AbortSignal.timeout(2 * STOPPING_MS))]);
  }

  // A task that gave up is queued for a moment, until the rest of that is stored.
  async #findWaiting(query: JobQuery): Promise<StoredTask | undefined> {
    const { boss, queue } = this.#settings;
    const [job] = await this.#ask(() => boss.findJobs(queue, { ...query, queued: true }));
    const task = job && (await this.#read(job));
    return task?.unsettled === true && task.progress?.ended === true ? undefined : task;
  }

  // pg-boss cancels jobs that run as well (timgit/pg-boss#384): a job is first kept from being started, which works
  // only where it waits. It never starts early by that.
  async #putOff({ job }: StoredTask): Promise<boolean> {
    const { boss, queue } = this.#settings;
    const startAfter = Math.max(CANCELLING_SECONDS, secondsUntil(dueTime(job.startAfter) ?? 0));
    const { jobs } = await this.#ask(() => boss.update(queue, undefined, { id: job.id, startAfter }));
    return jobs.length > 0;
  }

  // Tells the host whether the store answers: a request that it has refused is an answer.
  async #ask<T>(request: () => Promise<T>): Promise<T> {
    try {
      const answer = await request();
      this.#host.storeBack();
      return answer;
    } catch (error) {
      if (!isTaskConfigError(error) && isOutage(error)) this.#host.storeLost(error);
      throw error;
    }
  }

  // Whoever may store in a queue of tasks says what runs. In a queue that was one of jobs, data may be a stranger's.
  async #read(job: FetchedJob): Promise<StoredTask> {
    const ownTask = this.#ownTask;
    const trusted = ownTask === undefined || (await this.#bearsOwnCarrier(job));
    return readJob(job, { ownTask, trusted });
  }

  async #bearsOwnCarrier(job: FetchedJob): Promise<boolean> {
    const carrier = carrierIn(job.data);
    const { id } = addressee(carrier);
    if (id !== undefined && id === job.singletonKey) return true;
    return await quietly("looking for schedules", () => this.#carriers.areOf(job, carrier), false);
  }

  async #start(): Promise<void> {
    const { boss, queue } = this.#settings;
    await boss.start();
    await boss.createQueue(queue, { policy: POLICY });
    const policy = (await boss.getQueue(queue))?.policy;
    if (policy === POLICY) return;
    throw new TaskConfigError(`queue: expected one with the policy "${POLICY}", received one with another`);
  }
}
