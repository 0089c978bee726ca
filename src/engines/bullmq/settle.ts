import { describeException } from "../../core/exception.js";
import { warn } from "../../core/guard.js";
import type { Settlement } from "../engine.js";
import { nextAttempt } from "../envelope.js";
import { type BullmqWorkerJob, GIVES_UP, PUTS_OFF } from "./library.js";
import type { BullmqEngineSettings } from "./options.js";
import type { Store } from "./store.js";
import { attemptOf, BACKOFF, dataWithNext, isSameTask } from "./stored-task.js";

/** What BullMQ's errors say where a success may not be stored, because of the job's children: seen in 5.81 and 6.7. */
const REFUSES_SUCCESS: readonly unknown[] = [-4, -9];

type Failure = Exclude<Settlement, { outcome: "success" | "deferred" }>;

/**
 * A job in the hands of the host, until its end is stored. BullMQ's worker stores it when the processor has ended, by two
 * methods of the job; here these tell exactly whether it is stored, and are carried out again where it is not.
 */
export class HeldJob {
  readonly job: BullmqWorkerJob;
  /** What the processor gives BullMQ. */
  readonly processed: Promise<void>;
  /** Epoch milliseconds of the attempt that is to follow. */
  nextAt: number | undefined;
  readonly #token: string;
  readonly #store: Store;
  readonly #lockDuration: number;
  readonly #attemptsMade: number;
  /** The job's own methods, while it has others in their place. */
  readonly #complete: BullmqWorkerJob["moveToCompleted"];
  readonly #giveUp: BullmqWorkerJob["moveToFailed"];
  readonly #left: () => void;
  /** Resolves when BullMQ's worker stores the end: whether it asks for the next job. */
  readonly #asked: Promise<boolean>;
  /** Resolves to what BullMQ's worker is answered. */
  readonly #answered: Promise<unknown>;
  #endProcessor: (thrown: Error | undefined) => void = () => {};
  #ask: (fetchNext: boolean) => void = () => {};
  #answer: (next: unknown) => void = () => {};
  #isTried = false;
  #isHandedOver = false;
  #isAsked = false;

  /** `left` is called when the job is in the hands of the host no more. */
  constructor(job: BullmqWorkerJob, token: string, store: Store, settings: BullmqEngineSettings, left: () => void) {
    this.job = job;
    this.#token = token;
    this.#store = store;
    this.#lockDuration = settings.lockDuration;
    this.#left = left;
    this.#attemptsMade = job.attemptsMade;
    this.processed = new Promise((resolve, reject) => {
      this.#endProcessor = (thrown) => (thrown === undefined ? resolve() : reject(thrown));
    });
    this.#asked = new Promise((resolve) => {
      this.#ask = resolve;
    });
    this.#answered = new Promise((resolve) => {
      this.#answer = resolve;
    });
    this.#complete = job.moveToCompleted;
    this.#giveUp = job.moveToFailed;
    this.#takeOver();
  }

  /** Stores the end, as the host asks for it, and as often: only one call at a time. */
  async store(end: Settlement): Promise<"lost" | undefined> {
    let claim: "ours" | "stored" | "lost" = "ours";
    if (this.#isTried) claim = await this.#look();
    // BullMQ stores each end for the holder of the lock alone, but writes a job's data whoever that is
    else if (end.outcome === "retry") claim = await this.#claim();
    this.#isTried = true;
    this.leave(claim === "ours" ? await this.#move(end) : undefined);
    return claim === "lost" ? "lost" : undefined;
  }

  /** BullMQ tells that it has stored the end. It does so without the job's own methods only in a version not known here. */
  toldByWorker(): void {
    if (!this.#isAsked) warn("BullMQ's worker does not store ends by its job's own methods");
    this.#ask(false);
  }

  /** Gives the job back to BullMQ's worker, with the `next` one that was fetched for it. */
  leave(next?: unknown): void {
    this.#left();
    if (!this.#isHandedOver) this.#endProcessor(moved());
    this.#answer(next);
  }

  // BullMQ's worker never hears of a failure to store: for one to store a success, it would store that the job has failed.
  #takeOver(): void {
    const { job } = this;
    const asked = (_end: unknown, _token: string, fetchNext = false): Promise<unknown> => {
      this.#isAsked = true;
      this.#ask(fetchNext);
      return this.#answered;
    };
    job.moveToCompleted = asked;
    job.moveToFailed = asked;
  }

  async #move(end: Settlement): Promise<unknown> {
    const { link } = this.#store;
    // as long as the processor has not ended, BullMQ renews the job's lock
    if (end.outcome === "deferred") {
      return await link.await(() => this.job.moveToDelayed(Date.now() + end.delay, this.#token));
    }
    if (end.outcome === "retry") await this.#note(end);
    // the next job comes with the answer to the first try alone: lost with its answer, a job would be known to nobody
    const isFirst = !this.#isHandedOver;
    this.#isHandedOver = true;
    this.#endProcessor(thrownFor(end));
    const fetchNext = (await this.#asked) && isFirst;
    try {
      if (end.outcome !== "success") return await link.await(() => this.#fail(end, fetchNext));
      return await link.await(() => this.#complete.call(this.job, undefined, this.#token, fetchNext));
    } catch (error) {
      if (end.outcome !== "success" || !refusesSuccess(error)) throw error;
      warn(`BullMQ takes task ${this.job.id}, which has succeeded, for a failed one`, error);
      return await link.await(() => this.#giveUp.call(this.job, error, this.#token, fetchNext));
    }
  }

  async #note(end: Extract<Settlement, { outcome: "retry" }>): Promise<void> {
    const { job } = this;
    const next = nextAttempt(attemptOf(job), end);
    this.nextAt = next.dueAt;
    await this.#store.link.await(() => job.updateData(dataWithNext(job, next)));
  }

  async #fail(end: Failure, fetchNext: boolean): Promise<unknown> {
    const { job } = this;
    const { stacktrace } = job;
    const before = Array.isArray(stacktrace) ? [...stacktrace] : stacktrace;
    if (end.outcome === "retry") askHere(job);
    try {
      return await this.#giveUp.call(job, thrownFor(end) ?? moved(), this.#token, fetchNext);
    } catch (error) {
      // BullMQ adds the stack to the job before it is stored
      job.stacktrace = before;
      throw error;
    }
  }

  async #claim(): Promise<"ours" | "lost"> {
    const extended = await this.#store.link.ask(() => this.job.extendLock(this.#token, this.#lockDuration));
    return extended === 1 ? "ours" : "lost";
  }

  // A try before may have been carried out, and its answer lost.
  async #look(): Promise<"ours" | "stored" | "lost"> {
    const { job } = this;
    const found = await this.#store.find(String(job.id));
    const isOver = found === undefined || !isSameTask(found, job) || found.attemptsMade > this.#attemptsMade;
    if (isOver) return "stored";
    // BullMQ no longer renews the lock once the processor has ended
    return await this.#claim();
  }
}

function refusesSuccess(error: unknown): error is Error {
  return error instanceof Error && "code" in error && REFUSES_SUCCESS.includes(error.code);
}

/** The error to throw for a job that BullMQ is to leave alone: it has been moved or removed already. */
export function moved(): Error {
  const error = new Error("the task was given back");
  error.name = PUTS_OFF;
  return error;
}

// How an attempt ends, for BullMQ to store: an error for the processor to throw, `undefined` where it returns.
function thrownFor(end: Settlement): Error | undefined {
  switch (end.outcome) {
    case "success":
      return undefined;
    case "retry":
      return named("Error", end.error);
    case "deferred":
      return moved();
    default:
      // no attempt follows this name, however many were left
      return named(GIVES_UP, end.error);
  }
}

// The task's own error is never thrown: BullMQ goes by names and messages, and some of them mean something to it. What is
// described of it can be stored.
function named(name: string, thrown: unknown): Error {
  const { type, message, stack = "" } = describeException(thrown);
  const error = new Error(type === "_OTHER" ? `thrown: ${message}` : `${type}: ${message}`);
  return Object.assign(error, { name, stack });
}

// The producer of a job may have given it fewer attempts, and another wait, than the policy here: this copy of the job
// says otherwise, and the stored one stays as it is.
function askHere(job: BullmqWorkerJob): void {
  job.opts.attempts = job.attemptsMade + 2;
  job.opts.backoff = BACKOFF;
}
