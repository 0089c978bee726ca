import { setTimeout as wait } from "node:timers/promises";
import { quietly, warn } from "../../core/guard.js";
import { HOME } from "../../core/home.js";
import { whenAborted } from "../../core/when-aborted.js";
import { within } from "../../core/within.js";
import type { EngineHost, Settlement } from "../engine.js";
import { type NextAttempt, nextAttempt } from "../envelope.js";
import type { BullmqWorker, BullmqWorkerJob } from "./library.js";
import type { BullmqEngineSettings } from "./options.js";
import { moved, tellsLost, thrownFor } from "./settle.js";
import type { Store } from "./store.js";
import { attemptOf, BACKOFF, type BullmqJob, dataWithNext, deliveryOf, wasLost } from "./stored-task.js";

/** A backoff strategy answers this where no attempt is to follow. */
const GIVE_UP = -1;
const POLL_MS = 5;
/** A worker's connection may tell of a job later than the queue's by so much. */
const TOLD_LATE_MS = 50;
/** BullMQ may fetch a hundred jobs, one after the other, before it runs the first. */
const FETCHED_MS = 5_000;
const CLOSE_MS = 5_000;

/** How the processor of a job ends: without an error, or with this one. */
type End = (thrown: Error | undefined) => void;

/** A job in the hands of the host, until BullMQ has stored how its attempt ended. */
interface HeldJob {
  readonly job: BullmqWorkerJob;
  /** The attempt that is to follow. */
  next: NextAttempt | undefined;
  /** BullMQ has stored the end, or by this error never will; `undefined` while there is no end. */
  told: ((error?: Error) => void) | undefined;
}

/** Runs the tasks of one queue in this process. */
export class TaskWorker {
  readonly #settings: BullmqEngineSettings;
  readonly #host: EngineHost;
  readonly #store: Store;
  /** The ids of jobs that BullMQ has fetched, and not given to the processor yet. */
  readonly #fetched = new Set<string | undefined>();
  readonly #held = new Set<HeldJob>();
  /** Jobs that were in the hands of the host: BullMQ tells of some of them afterwards. */
  readonly #ran = new WeakMap<BullmqJob, HeldJob>();
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
    this.#paused = quietly("pausing the BullMQ worker", () => this.#pause(), undefined);
  }

  /** Waits until BullMQ has stored how attempts ended, unless nothing answers, and gives up the connections. */
  async close(graceful: boolean): Promise<void> {
    if (graceful) await within(CLOSE_MS, this.#paused, undefined);
    await within(CLOSE_MS, this.#worker.close(true), undefined);
    this.#giveUp("BullMQ's worker was closed");
  }

  #open(): BullmqWorker {
    const { Worker, queue, workerOptions } = this.#settings;
    const { settings } = workerOptions as { settings?: object }; // as the application gave them
    const backoffStrategy = (_attempts: number, _type: string, _error: Error, job: BullmqJob): number =>
      this.#delayOf(job);
    const process = (job: BullmqWorkerJob, token?: string): Promise<void> => this.#process(job, token);
    const options = { ...workerOptions, autorun: false, settings: { ...settings, backoffStrategy } };
    // options of this very class, as the application gave them
    const worker = new Worker(queue, process, options as never);
    worker.on("active", ({ id }) => this.#fetched.add(id));
    worker.on("completed", (job) => this.#ran.get(job)?.told?.());
    worker.on("failed", (job, error) => this.#failed(job, error));
    worker.on("error", (error) => {
      this.#store.outages.reported(`the BullMQ worker of ${queue}`, error);
      for (const { job, told } of this.#held) if (tellsLost(error, String(job.id))) told?.(error);
    });
    return worker;
  }

  // A worker that runs before it has reached its server goes on trying after its close, and keeps the process alive:
  // taskforcesh/bullmq#4656, still so in 6.7.
  async #start(): Promise<void> {
    await this.#worker.waitUntilReady();
    if (this.#stopped.signal.aborted) return;
    this.#worker.run().catch((error: unknown) => warn("the BullMQ worker has stopped", error));
  }

  // A pause, unlike a close, can still be cut short when it takes too long. A worker that pauses tells of no error: an
  // end that it has not told of when it has paused was not stored.
  async #pause(): Promise<void> {
    await this.#worker.pause();
    this.#giveUp("BullMQ's worker has stopped");
  }

  async #process(job: BullmqWorkerJob, token: string | undefined): Promise<void> {
    while (this.#store.isLeaving(job)) await this.#store.left(job);
    this.#fetched.delete(job.id);
    if (this.#store.hasLeft(job)) throw moved();
    await this.#run(job, token);
  }

  // This follows in the same turn as the look whether the job has left, since whoever takes a task out looks here first.
  #run(job: BullmqWorkerJob, token: string | undefined): Promise<void> {
    const held: HeldJob = { job, next: undefined, told: undefined };
    this.#held.add(held);
    this.#ran.set(job, held);
    return new Promise((resolve, reject) => {
      const end: End = (thrown) => (thrown === undefined ? resolve() : reject(thrown));
      const delivery = deliveryOf(job, this.#host, this.#settings.mostAttempts);
      void this.#host.run(delivery, (settlement) => this.#unlessGone(this.#end(held, token, settlement, end)));
    });
  }

  // A shutdown does not wait for a server that is gone.
  async #unlessGone(stored: Promise<void>): Promise<void> {
    if (!this.#stopped.signal.aborted) return await stored;
    const gone = this.#store.outages.gone().then(() => Promise.reject(new Error("BullMQ's server is gone")));
    await Promise.race([stored, gone]);
  }

  async #end(held: HeldJob, token: string | undefined, settlement: Settlement, end: End): Promise<void> {
    if (settlement.outcome === "deferred") return await this.#giveBack(held, token, settlement.delay, end);
    if (settlement.outcome === "retry") {
      held.next = nextAttempt(attemptOf(held.job), settlement);
      await this.#note(held);
      askHere(held.job);
    }
    const stored = this.#untilStored(held);
    end(thrownFor(settlement));
    await stored;
  }

  async #giveBack(held: HeldJob, token: string | undefined, delay: number, end: End): Promise<void> {
    const { job } = held;
    try {
      if (wasLost(job)) await this.#note(held);
      await job.moveToDelayed(Date.now() + delay, token);
    } finally {
      this.#held.delete(held);
      end(moved());
    }
  }

  // Without the note, the next attempt runs all the same.
  async #note({ job, next }: HeldJob): Promise<void> {
    await quietly("noting an attempt", () => job.updateData(dataWithNext(job, next)), undefined);
  }

  // BullMQ does not say of every error which job it meant. It no longer renews the lock of a job whose processor has
  // ended: when that has run out, another worker may have the job.
  #untilStored(held: HeldJob): Promise<void> {
    return new Promise((resolve, reject) => {
      const runsOut = (): void => held.told?.(new Error("BullMQ told nothing before the job's lock ran out"));
      const timer = setTimeout(runsOut, this.#settings.lockDuration).unref();
      held.told = (error) => {
        held.told = undefined;
        clearTimeout(timer);
        this.#held.delete(held);
        if (error === undefined) resolve();
        else reject(error);
      };
    });
  }

  #failed(job: BullmqWorkerJob | undefined, error: Error): void {
    this.#fetched.delete(job?.id);
    const held = job && this.#ran.get(job);
    if (held === undefined) warn(`BullMQ gave up task ${job?.id} without running it`, error);
    else held.told?.();
  }

  #giveUp(why: string): void {
    for (const { told } of this.#held) told?.(new Error(why));
  }

  #isHeld(id: string): boolean {
    for (const { job } of this.#held) if (job.id === id) return true;
    return false;
  }

  // BullMQ asks for each job that failed by an error which leaves room for another attempt.
  #delayOf(job: BullmqJob): number {
    const next = this.#ran.get(job)?.next;
    return next === undefined ? GIVE_UP : Math.max(0, Math.ceil(next.dueAt - Date.now()));
  }
}

// The producer of a job may have given it fewer attempts, and another wait, than the policy here: this copy of the job
// says otherwise, and the stored one stays as it is.
function askHere(job: BullmqJob): void {
  job.opts.attempts = job.attemptsMade + 2;
  job.opts.backoff = BACKOFF;
}
