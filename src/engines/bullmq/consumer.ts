import { setTimeout as wait } from "node:timers/promises";
import { TaskCancelledError } from "../../core/errors.js";
import { quietly, warn } from "../../core/guard.js";
import { whenAborted } from "../../core/when-aborted.js";
import type { Delivery, EngineHost, Settlement } from "../engine.js";
import { type NextAttempt, nextAttempt } from "../envelope.js";
import { HOME } from "../home.js";
import type { InFlight } from "../in-flight.js";
import { Departures } from "./departures.js";
import { attemptOf, type BullmqJob } from "./job.js";
import type { BullmqWorker, BullmqWorkerJob } from "./library.js";
import type { BullmqEngineSettings } from "./options.js";
import type { Outages } from "./outages.js";
import { BACKOFF, dataWithNext, deliveryOf, wasLost } from "./stored-task.js";
import { failed, failedForGood, moved } from "./thrown.js";
import { within } from "./within.js";

/** What a backoff strategy answers where no attempt is to follow. */
const GIVE_UP = -1;
const POLL_MS = 10;
const CARRY_OUT_MS = 2_000;
const CLOSE_MS = 5_000;
const GIVE_BACK: Settlement = { kind: "release", delay: 0 };

/** A task in this process, until BullMQ has carried out how its attempt ended. */
interface Held {
  readonly job: BullmqWorkerJob;
  /** It can still be kept from being run again. */
  open: boolean;
  cancelled: boolean;
  /** The attempt that is to follow. */
  next: NextAttempt | undefined;
}

/** Runs the tasks of one queue in this process. */
export class Consumer {
  readonly #settings: BullmqEngineSettings;
  readonly #host: EngineHost;
  readonly #inFlight: InFlight;
  readonly #outages: Outages;
  readonly #held = new Map<string | undefined, Held>();
  /** The attempts of jobs that were run here. */
  readonly #ran = new WeakMap<BullmqWorkerJob, Held>();
  readonly #departures = new Departures();
  readonly #stopped = new AbortController();
  readonly #worker: BullmqWorker;
  readonly #started: Promise<void>;
  #carriedOut: Promise<void> = Promise.resolve();

  constructor(settings: BullmqEngineSettings, host: EngineHost, inFlight: InFlight, outages: Outages) {
    this.#settings = settings;
    this.#host = host;
    this.#inFlight = inFlight;
    this.#outages = outages;
    this.#worker = HOME.runInAsyncScope(() => this.#openWorker());
    this.#started = HOME.runInAsyncScope(() => this.#start());
    this.#started.catch(() => {}); // told to whoever waits for it
  }

  /** Resolves when it takes jobs, or need not any more; rejects when it never will. */
  async started(): Promise<void> {
    await Promise.race([this.#started, whenAborted(this.#stopped.signal)]);
  }

  /** Keeps a task that is here from being run again: true where that is certain. */
  async cancel(id: string): Promise<boolean> {
    const held = this.#held.get(id);
    if (held?.open) {
      held.cancelled = true;
      return true;
    }
    // too late: what BullMQ is carrying out can be found in the store afterwards
    await this.#putDown(id);
    return false;
  }

  /** Takes a task out of the store, unless it ends here meanwhile: BullMQ calls that removed as well. */
  async takeAway(id: string, remove: () => Promise<BullmqJob | undefined>): Promise<BullmqJob | undefined> {
    return await this.#departures.takeOut(id, remove, () => this.#putDown(id));
  }

  /** Starts no further attempt. */
  stop(): void {
    this.#stopped.abort();
    // unlike its close(), a worker's pause() can still be cut short when it takes too long
    this.#carriedOut = quietly("pausing the BullMQ worker", () => this.#worker.pause(), undefined);
  }

  /** Waits until BullMQ has carried out how attempts ended, unless nothing answers, and gives up the connections. */
  async close(graceful: boolean): Promise<void> {
    if (graceful) await within(CLOSE_MS, this.#carriedOut, undefined);
    await within(CLOSE_MS, this.#worker.close(true), undefined);
  }

  async #putDown(id: string): Promise<void> {
    const held = this.#held.get(id);
    const until = Date.now() + CARRY_OUT_MS;
    while (held !== undefined && this.#held.get(id) === held && Date.now() < until) await wait(POLL_MS);
  }

  #openWorker(): BullmqWorker {
    const { Worker, queue, workerOptions } = this.#settings;
    const { settings } = workerOptions as { settings?: object };
    const backoffStrategy = (_attempts: number, _type: string, _error: Error, job: BullmqJob): number =>
      this.#waitBefore(job);
    const process = (job: BullmqWorkerJob, token?: string): Promise<void> => this.#inFlight.add(this.#run(job, token));
    // options of this very class, as the application gave them
    const options = { ...workerOptions, autorun: false, settings: { ...settings, backoffStrategy } };
    const worker = new Worker(queue, process, options as never);
    worker.on("error", (error) => {
      this.#outages.reported(`the BullMQ worker of ${queue}`, error);
      this.#forgetLost(error);
    });
    worker.on("completed", (job) => this.#ended(job));
    worker.on("failed", (job, error) => {
      if (job === undefined || !this.#ended(job)) warn(`BullMQ gave up task ${job?.id} without running it`, error);
    });
    return worker;
  }

  // Told late, when the next attempt of the task is here already, it is not that attempt's end.
  #ended(job: BullmqWorkerJob): boolean {
    const held = this.#ran.get(job);
    if (held?.next === undefined) this.#departures.ended(job);
    if (held !== undefined && this.#held.get(job.id) === held) this.#held.delete(job.id);
    return held !== undefined;
  }

  // Of a job that was lost meanwhile, to another worker or for good, BullMQ tells this and no more.
  #forgetLost({ message }: Error): void {
    for (const [id, held] of this.#held) {
      const lost = message.includes(`ob ${id}. `) || message.includes(`ob ${id} is not in the active state`);
      if (lost && !held.open) this.#held.delete(id);
    }
  }

  // Not before the server has been reached: a worker that runs before goes on trying for a while after its close.
  async #start(): Promise<void> {
    await this.#worker.waitUntilReady();
    if (this.#stopped.signal.aborted) return;
    this.#worker.run().catch((error: unknown) => warn("the BullMQ worker has stopped", error));
  }

  // By what this throws, BullMQ knows what to do with the job.
  async #run(job: BullmqWorkerJob, token: string | undefined): Promise<void> {
    if (await this.#departures.hasLeft(job)) throw moved();
    const held: Held = { job, open: true, cancelled: false, next: undefined };
    this.#held.set(job.id, held);
    this.#ran.set(job, held);
    // fetched while the worker was told to stop
    const { aborted } = this.#stopped.signal;
    const settlement = aborted ? GIVE_BACK : await this.#host.run(this.#deliveryOf(job));
    if (settlement.kind === "retry") {
      held.next = nextAttempt(attemptOf(job), settlement);
      await this.#note(job, held.next);
      askHere(job);
      throw failed(settlement.error);
    }
    held.open = false;
    if (settlement.kind === "release") throw await this.#giveBack(held, settlement.delay, token);
    if (settlement.kind !== "done") throw failedForGood(settlement.error);
  }

  // Without it, the next attempt runs all the same.
  async #note(job: BullmqWorkerJob, next: NextAttempt | undefined): Promise<void> {
    await quietly("noting an attempt", () => job.updateData(dataWithNext(job, next)), undefined);
  }

  async #giveBack({ job, cancelled }: Held, delay: number, token: string | undefined): Promise<Error> {
    if (cancelled) {
      this.#drop(job, attemptOf(job));
      return failedForGood(new TaskCancelledError("the task was cancelled"));
    }
    if (wasLost(job)) await this.#note(job, undefined);
    // where this fails, the job stalls, and is run again
    await quietly("giving a task back", () => job.moveToDelayed(Date.now() + delay, token), undefined);
    this.#held.delete(job.id);
    return moved();
  }

  // Asked right before a failed job is moved: the last moment at which its retry can be called off.
  #waitBefore({ id }: BullmqJob): number {
    const held = this.#held.get(id);
    if (held?.next === undefined) return GIVE_UP;
    const { open } = held;
    held.open = false;
    if (!held.cancelled) return Math.max(0, Math.ceil(held.next.dueAt - Date.now()));
    // asked again where the answer could not be stored
    if (open) this.#drop(held.job, held.next.attempt);
    return GIVE_UP;
  }

  #drop(job: BullmqJob, attempt: number): void {
    const delivery = { ...this.#deliveryOf(job), attempt };
    void this.#inFlight.add(HOME.runInAsyncScope(() => this.#host.drop(delivery, "cancelled")));
  }

  #deliveryOf(job: BullmqJob): Delivery {
    return deliveryOf(job, this.#host, this.#settings.mostAttempts);
  }
}

// Whoever added a job may have given it fewer attempts, and another wait, than the policy here. This copy alone is told.
function askHere(job: BullmqJob): void {
  job.opts.attempts = job.attemptsMade + 2;
  job.opts.backoff = BACKOFF;
}
