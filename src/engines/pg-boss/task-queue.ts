import { addressee } from "../../core/carrier.js";
import { isTaskConfigError, TaskConfigError } from "../../core/errors.js";
import { quietly } from "../../core/guard.js";
import { whenAborted } from "../../core/when-aborted.js";
import type { EngineHost, Settlement, TaskMessage } from "../engine.js";
import { HOME } from "../home.js";
import { claimOf, dueTime, type FetchedJob } from "./boss.js";
import { Carriers } from "./carriers.js";
import { listenTo } from "./listening.js";
import type { PgBossEngineSettings } from "./options.js";
import { isOutage } from "./refusal.js";
import { resettle, SPARE_CLAIMS, secondsUntil, settle } from "./settle.js";
import { carrierIn, dataOf, readJob, type StoredTask } from "./stored-task.js";

/** At most one live job of a singletonKey, which is the task's id. */
const POLICY = "exclusive";
/** pg-boss waits this long before a lost job starts again. */
const RETRY_DELAY_SECONDS = 1;
/** Ten years: pg-boss deletes what waited for longer than this, and tells no one. */
const RETENTION_SECONDS = 315_360_000;
/** How long a task that is about to be cancelled cannot start. */
const CANCELLING_MS = 60_000;
const STOPPING_MS = 5_000;

/** The pg-boss queue that holds an engine's tasks. Everything but `stop` rejects when pg-boss does. */
export class TaskQueue {
  readonly #settings: PgBossEngineSettings;
  readonly #host: EngineHost;
  readonly #carriers: Carriers;
  readonly #stopListening: () => void;
  /** The queue, where a task here is called like it. */
  #ownTask: string | undefined;
  #started: Promise<void> | undefined;

  constructor(settings: PgBossEngineSettings, host: EngineHost) {
    this.#settings = settings;
    this.#carriers = new Carriers(settings.boss, settings.queue);
    this.#host = host;
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

  /** False where a task of this id is live. */
  async store(message: TaskMessage): Promise<boolean> {
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
  async take(limit: number, exceptNames: string[]): Promise<StoredTask[]> {
    const { boss, queue } = this.#settings;
    const query = { batchSize: limit, includeMetadata: true, ignoreGroups: exceptNames } as const;
    const jobs = await this.#ask(() => boss.fetch(queue, query));
    return await Promise.all(jobs.map((job) => this.#read(job)));
  }

  /** Says that a claimed task is still running. */
  async touch(job: FetchedJob): Promise<void> {
    await this.#settings.boss.touch(this.#settings.queue, claimOf(job));
  }

  async settle(task: StoredTask, settlement: Settlement): Promise<void> {
    await this.#ask(() => settle(this.#settings.boss, this.#settings.queue, task, settlement));
  }

  async resettle(task: StoredTask): Promise<void> {
    await this.#ask(() => resettle(this.#settings.boss, this.#settings.queue, task));
  }

  /** Cancels a task that waits; `undefined` where there is none. */
  async cancel(taskId: string): Promise<StoredTask | undefined> {
    const { boss, queue } = this.#settings;
    if (taskId === "") return undefined;
    const [job] = await this.#ask(() => boss.findJobs(queue, { key: taskId, queued: true, limit: 1 }));
    if (job === undefined) return undefined;
    // pg-boss cancels running jobs as well: first of all this one is kept from being started, and never starts early
    const startAfter = Math.max(CANCELLING_MS / 1000, secondsUntil(dueTime(job.startAfter) ?? 0));
    const { jobs } = await boss.update(queue, undefined, { id: job.id, startAfter });
    if (jobs.length === 0) return undefined;
    await boss.cancel(queue, job.id);
    return await this.#read(job);
  }

  /** Whether no task is queued or waits for its retry. What runs is not counted. */
  async isEmpty(): Promise<boolean> {
    const { boss, queue } = this.#settings;
    return (await this.#ask(() => boss.findJobs(queue, { queued: true, limit: 1 }))).length === 0;
  }

  /** Stops pg-boss, unless others use it; waits a few seconds at most. To be called once. */
  async stop(): Promise<void> {
    const { boss, shared } = this.#settings;
    const started = shared ? undefined : this.#started;
    // what pg-boss reports while it stops is heard, also where nobody waits for that any more
    const stopping = Promise.resolve(started?.then(() => boss.stop({ timeout: STOPPING_MS }))).finally(
      this.#stopListening,
    );
    await Promise.race([stopping, whenAborted(AbortSignal.timeout(2 * STOPPING_MS))]);
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

  // Whoever may store in a queue of tasks says what runs; in one that was a queue of jobs, data may be a stranger's.
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
