import { setTimeout as wait } from "node:timers/promises";
import { quietly, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { whenAborted } from "../../core/when-aborted.js";
import { within } from "../../core/within.js";
import type { EngineHost } from "../engine.js";
import { type BullmqWorker, type BullmqWorkerJob, hearConnections, markAsEngines } from "./library.js";
import type { BullmqEngineSettings } from "./options.js";
import { HeldJob, moved } from "./settle.js";
import type { Store } from "./store.js";
import { deliveryOf } from "./stored-task.js";

/** A backoff strategy answers this where no attempt is to follow. */
const GIVE_UP = -1;
const POLL_MS = 5;
/** A worker's connection may tell of a job later than the queue's by so much. */
const TOLD_LATE_MS = 50;
/** BullMQ may fetch a hundred jobs, one after the other, before it runs the first. */
const FETCHED_MS = 5_000;
const CLOSE_MS = 5_000;

/** Leads from a job that was in the hands of the host to how it was held: BullMQ tells of it afterwards. */
const HELD = Symbol("otel-taskflow");

interface RunJob extends BullmqWorkerJob {
  [HELD]?: HeldJob;
}

/** Runs the tasks of one queue in this process. */
export class TaskWorker {
  readonly #settings: BullmqEngineSettings;
  readonly #host: EngineHost;
  readonly #store: Store;
  /** The ids of jobs that BullMQ has fetched, and not given to the processor yet. */
  readonly #fetched = new Set<string | undefined>();
  readonly #held = new Set<HeldJob>();
  readonly #stopped = new AbortController();
  readonly #worker: BullmqWorker;
  readonly #started: Promise<void>;
  #paused: Promise<void> = Promise.resolve();

  constructor(settings: BullmqEngineSettings, host: EngineHost, store: Store) {
    this.#settings = settings;
    this.#host = host;
    this.#store = store;
    this.#worker = HOME.runInAsyncScope(() => this.#open());
    this.#started = HOME.runInAsyncScope(() => this.#start());
    this.#started.catch(() => {}); // told to whoever waits for it
  }

  /** How many jobs are in the hands of the host. */
  get held(): number {
    return this.#held.size;
  }

  /** Resolves when it takes jobs, or need not any more; rejects when it never will. */
  async started(): Promise<void> {
    await Promise.race([this.#started, whenAborted(this.#stopped.signal)]);
  }

  /** Whether a job is in the hands of the host, or on its way there. */
  has(id: string): boolean {
    return this.#fetched.has(id) || this.#isHeld(id);
  }

  /** Resolves when a job has come into the hands of the host, or soon where it is not on its way there. */
  async arrival(id: string): Promise<void> {
    const since = Date.now();
    const isLate = (): boolean => Date.now() - since > (this.#fetched.has(id) ? FETCHED_MS : TOLD_LATE_MS);
    while (!this.#isHeld(id) && !isLate()) await wait(POLL_MS);
  }

  /** Starts no further attempt. */
  stop(): void {
    this.#stopped.abort();
    // a pause, unlike a close, can still be cut short when it takes too long
    this.#paused = quietly("pausing the BullMQ worker", () => this.#worker.pause(), undefined);
  }

  /** Gives up the connections, and where the server answers, first lets BullMQ come to its end. */
  async close(graceful: boolean): Promise<void> {
    for (const held of this.#held) held.leave();
    if (graceful) await within(CLOSE_MS, this.#paused, undefined);
    await within(CLOSE_MS, this.#worker.close(true), undefined);
  }

  #open(): BullmqWorker {
    const { Worker, queue, workerOptions } = this.#settings;
    const { settings } = workerOptions as { settings?: object }; // as the application gave them
    const backoffStrategy = (_attempts: number, _type: string, _error: Error, job: RunJob): number =>
      this.#delayOf(job);
    const process = (job: BullmqWorkerJob, token?: string): Promise<void> => this.#process(job, token);
    const options = { ...workerOptions, autorun: false, settings: { ...settings, backoffStrategy } };
    // options of this very class, as the application gave them
    const worker = markAsEngines(new Worker(queue, process, options as never));
    hearConnections(worker);
    worker.on("active", ({ id }) => this.#fetched.add(id));
    worker.on("completed", (job: RunJob) => job[HELD]?.toldByWorker());
    worker.on("failed", (job, error) => this.#failed(job, error));
    worker.on("error", (error) => this.#store.reported(`the BullMQ worker of ${queue}`, error));
    return worker;
  }

  // A worker that runs before it has reached its server goes on trying after its close, and keeps the process alive:
  // taskforcesh/bullmq#4656, still so in 6.7.
  async #start(): Promise<void> {
    await this.#worker.waitUntilReady();
    if (this.#stopped.signal.aborted) return;
    this.#worker.run().catch((error: unknown) => warn("the BullMQ worker has stopped", error));
  }

  #process(job: BullmqWorkerJob, token: string | undefined): Promise<void> {
    const { removals } = this.#store;
    if (removals.isLeaving(job)) return removals.left(job).then(() => this.#process(job, token));
    this.#fetched.delete(job.id);
    return removals.hasLeft(job) ? Promise.reject(moved()) : this.#run(job, token);
  }

  // This follows in the same turn as the look whether the job has left, since whoever takes a task out looks here first.
  #run(job: RunJob, token = ""): Promise<void> {
    const held = new HeldJob(job, token, this.#store, this.#settings, () => this.#held.delete(held));
    this.#held.add(held);
    job[HELD] = held;
    const delivery = deliveryOf(job, this.#host, this.#settings.mostAttempts);
    void this.#host.run(delivery, (end) => held.store(end));
    return held.processed;
  }

  #failed(job: RunJob | undefined, error: Error): void {
    this.#fetched.delete(job?.id);
    const held = job?.[HELD];
    if (held === undefined) warn(`BullMQ gave up task ${job?.id} without running it`, error);
    else held.toldByWorker();
  }

  #isHeld(id: string): boolean {
    for (const { job } of this.#held) if (job.id === id) return true;
    return false;
  }

  // BullMQ asks for each job that failed by an error which leaves room for another attempt.
  #delayOf(job: RunJob): number {
    const nextAt = job[HELD]?.nextAt;
    return nextAt === undefined ? GIVE_UP : Math.max(0, Math.ceil(nextAt - Date.now()));
  }
}
