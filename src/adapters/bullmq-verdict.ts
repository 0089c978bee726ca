import { isNonRetryableError } from "../core/errors.js";
import { storableError } from "../core/exception.js";
import type { Verdict } from "../core/handler.js";
import { fieldsOf } from "../core/wire.js";
import { GIVES_UP, PUTS_OFF } from "../engines/bullmq/library.js";
import type { BullmqJob } from "../engines/bullmq/stored-task.js";

/** What a worker asks a job that has failed: whether it runs again, and after how many ms. */
type ShouldRetryJob = (error: unknown) => Promise<readonly [again: boolean, delay: number]>;

/** A job whose processor has thrown. In a sandbox it is a copy without methods, and so are the errors that leave it. */
export interface JudgedJob extends BullmqJob {
  /** The worker that runs the job; in a sandbox there is none. */
  readonly queue?: { readonly opts?: { readonly maxStartedAttempts?: number | undefined } } | undefined;
  /** Every job has this method outside of a sandbox. */
  readonly getState?: unknown;
  /** The prefix of its queue's keys, which a copy in a sandbox has as well. */
  readonly prefix?: unknown;
  /** A private method of BullMQ's: 5.40 and 6.0 to 6.7 have it, 5.20 does not. */
  readonly shouldRetryJob?: ShouldRetryJob | undefined;
}

type ErrorClass = new () => Error;

// A worker goes by an error's class or name; both were seen in BullMQ 5.81 and 6.7. A minifier changes the names, but
// not the message of an error that is given none: those are the texts, which came after 5.20.
const GIVING_UP = new Map([[GIVES_UP, "bullmq:unrecoverable"]]);
const DEFERRALS = new Map([
  [PUTS_OFF, "bullmq:movedToDelayed"],
  ["WaitingError", "bullmq:movedToWait"],
  ["WaitingChildrenError", "bullmq:movedToWaitingChildren"],
]);
/** The message by which a worker knows its RateLimitError; seen in BullMQ 5.0, 5.81 and 6.7. */
const RATE_LIMITED = "bullmq:rateLimitExceeded";

/** For each class of an error that was thrown: the message of an instance that is given none. */
const ownMessages = new WeakMap<object, unknown>();

/**
 * What a worker is told of what its processor threw: the very error, unless the worker would do the wrong thing with
 * it. One that reads properties of `undefined`, or whose store refuses a text, leaves the job active for ever, in
 * BullMQ 5.81 and 6.7. Sees to it that a `NonRetryableError` fails the job for good. Never throws.
 */
export function toldOf(job: JudgedJob, thrown: unknown): unknown {
  const error = storableError(thrown, "the processor");
  if (!isNonRetryableError(error) || giveUp(job, error)) return error;
  if (isInSandbox(job)) return unrecoverable(error);
  if (!isInWorker(job)) return error;
  // the worker is about to ask this copy of the job whether attempts are left; the stored one keeps its number
  job.opts.attempts = job.attemptsMade + 1;
  return error;
}

/** Foresees what a worker will do with a job, and asks the job as the worker does. Rejects only for a hostile error. */
export async function verdictOf(job: JudgedJob, error: unknown): Promise<Verdict> {
  if (fieldsOf(error).message === RATE_LIMITED) return "deferred";
  const isOneOf = isInSandbox(job) ? isNamed : isNamedOrDerived;
  if (isOneOf(error, DEFERRALS)) return "deferred";
  if (isOneOf(error, GIVING_UP) || isStartedTooOften(job)) return "failure";
  const { shouldRetryJob } = job;
  if (shouldRetryJob === undefined) return undefined;
  const answer = shouldRetryJob.call(job, error);
  // the application's backoff strategy is called once for each attempt, as without this library
  answerWith(job, shouldRetryJob, error, answer);
  return await answer.then(
    ([again]) => (again ? undefined : "failure"),
    () => undefined, // the worker gets the same answer, and tells it
  );
}

// Whatever the job's options say; false where it has no such method.
function giveUp(job: JudgedJob, error: unknown): boolean {
  const { shouldRetryJob } = job;
  if (shouldRetryJob === undefined) return false;
  answerWith(job, shouldRetryJob, error, Promise.resolve([false, 0]));
  return true;
}

// The worker's own question about this error gets this answer.
function answerWith(job: JudgedJob, ask: ShouldRetryJob, about: unknown, answer: ReturnType<ShouldRetryJob>): void {
  const value: ShouldRetryJob = (error) => (error === about ? answer : ask.call(job, error));
  Object.defineProperty(job, "shouldRetryJob", { value, configurable: true });
}

// The worker outside of the sandbox gets a copy of the error, and knows it by its name (taskforcesh/bullmq#1317).
function unrecoverable(error: Error): Error {
  const copy = Object.defineProperties(new Error(), Object.getOwnPropertyDescriptors(error));
  return Object.defineProperty(copy, "name", { value: GIVES_UP });
}

// BullMQ 6.4 says so itself. Before, it promises such a job a retry, takes it once more, and fails it then: this may go
// with BullMQ 5 (the option came with taskforcesh/bullmq#3331).
function isStartedTooOften({ queue, attemptsStarted = 0 }: JudgedJob): boolean {
  const most = queue?.opts?.maxStartedAttempts;
  return typeof most === "number" && most > 0 && most <= attemptsStarted;
}

function isInSandbox(job: JudgedJob): boolean {
  return !isInWorker(job) && typeof job.prefix === "string";
}

// A unit test calls a processor with a job of its own making, of which no worker hears.
function isInWorker({ getState }: JudgedJob): boolean {
  return getState !== undefined;
}

function isNamed(error: unknown, classes: ReadonlyMap<string, string>): boolean {
  const { name } = fieldsOf(error);
  return typeof name === "string" && classes.has(name);
}

// An application's class that is derived from one of BullMQ's has a name of its own.
function isNamedOrDerived(error: unknown, classes: ReadonlyMap<string, string>): boolean {
  return isNamed(error, classes) || [...classes.values()].includes(String(ownMessageOf(error)));
}

function ownMessageOf(error: unknown): unknown {
  const base = baseClassOf(error);
  if (base === undefined) return undefined;
  if (!ownMessages.has(base)) ownMessages.set(base, messageGivenNone(base));
  return ownMessages.get(base);
}

// The class right below Error, which is BullMQ's own for all of its errors. They set their own name: the class of any
// other error is not called to find out.
function baseClassOf(error: unknown): ErrorClass | undefined {
  if (!(error instanceof Error) || !Object.hasOwn(error, "name")) return undefined;
  let base: object = error;
  for (let next = above(base); next !== null && next !== Error.prototype; next = above(base)) base = next;
  // a prototype below Error's has its class as `constructor`; where that is none, calling it throws
  return base === error ? undefined : (base.constructor as ErrorClass);
}

function above(one: object): object | null {
  return Object.getPrototypeOf(one);
}

function messageGivenNone(Class: ErrorClass): unknown {
  try {
    return new Class().message;
  } catch {
    return undefined; // it needs arguments, as none of BullMQ's does
  }
}
