import { isNonRetryableError } from "../core/errors.js";
import { quietly, safely } from "../core/guard.js";
import { isStorable, storable } from "../core/text.js";
import type { BullmqJob } from "../engines/bullmq/job.js";

/** What BullMQ does with a job whose processor threw; `undefined` where it only goes by the attempts left. */
export type Verdict = "deferred" | "failure" | "retry" | undefined;

/** The part of a job that BullMQ asks whether it runs again; jobs in a sandbox have no such methods. */
export interface JudgedJob extends BullmqJob {
  readonly queue?: { readonly opts?: { readonly maxStartedAttempts?: number | undefined } } | undefined;
  readonly getState?: unknown;
  /** Resolves to whether it does, and after how many ms. BullMQ's own; asked by its worker once a job has failed. */
  readonly shouldRetryJob?: ((error: unknown) => Promise<readonly [boolean, number]>) | undefined;
}

/** How a processor ended that threw. */
export interface Failure {
  /** For BullMQ. */
  readonly error: unknown;
  readonly verdict: Verdict;
}

type ErrorClass = new () => Error;

/** The name by which BullMQ knows an error after which it runs a job no more. */
const UNRECOVERABLE = "UnrecoverableError";
const RATE_LIMITED = "bullmq:rateLimitExceeded";
/** BullMQ's errors that say what became of a job: their names, and the messages they have unless given another. */
const DEFERRALS = new Map([
  ["DelayedError", "bullmq:movedToDelayed"],
  ["WaitingError", "bullmq:movedToWait"],
  ["WaitingChildrenError", "bullmq:movedToWaitingChildren"],
]);
const GIVING_UP = new Map([[UNRECOVERABLE, "bullmq:unrecoverable"]]);
/** Of each class of errors that was thrown, the message that one has which is given none. */
const ownMessages = new WeakMap<object, unknown>();

/** What a worker is told of what a processor threw, and what it will do then. Never rejects. */
export async function failureOf(job: JudgedJob, thrown: unknown): Promise<Failure> {
  const error = thrownTo(job, thrown);
  return { error, verdict: await quietly("foreseeing what BullMQ does", () => verdictOf(job, error), undefined) };
}

// What a worker gets instead of what was thrown, where it would do the wrong thing with that.
function thrownTo(job: JudgedJob, thrown: unknown): unknown {
  // a worker that reads properties of these leaves the job active for ever
  if (thrown === undefined || thrown === null) return new Error(`the processor threw ${thrown}`);
  const error = safely("reading an error", () => storableError(thrown), thrown);
  if (!isNonRetryableError(error) || giveUp(job, error)) return error;
  if (job.getState === undefined) return unrecoverable(error);
  // of this copy of the job alone, which the worker is about to ask whether attempts are left
  job.opts.attempts = job.attemptsMade + 1;
  return error;
}

// A store may refuse the text of an error, and the job would then end again and again.
function storableError(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const { name, message, stack = "" } = thrown;
  if ([message, stack].every((text) => typeof text !== "string" || isStorable(text))) return thrown;
  const texts = { name, message: storable(String(message)), stack: storable(String(stack)) };
  return Object.assign(Object.create(thrown), texts);
}

// Out of a sandbox, a worker gets copies of errors, and knows them by their names.
function unrecoverable(error: Error): Error {
  const copy = Object.defineProperties(new Error(), Object.getOwnPropertyDescriptors(error));
  return Object.defineProperty(copy, "name", { value: UNRECOVERABLE });
}

// Decides as BullMQ will. Asks it where it can be asked, so that a backoff strategy is called once an attempt.
async function verdictOf(job: JudgedJob, error: unknown): Promise<Verdict> {
  if (fieldOf(error, "message") === RATE_LIMITED) return "deferred";
  const kinOf = job.getState === undefined ? isNamed : isOneOf;
  if (kinOf(error, DEFERRALS)) return "deferred";
  if (kinOf(error, GIVING_UP) || isStartedTooOften(job)) return "failure";
  const { shouldRetryJob } = job;
  if (shouldRetryJob === undefined) return undefined;
  const answer = shouldRetryJob.call(job, error);
  answerOnce(job, shouldRetryJob, error, answer);
  return await answer.then(
    ([again]) => (again ? "retry" : "failure"),
    () => undefined, // told by the worker, which gets the same answer
  );
}

// Keeps a job of this process from being retried after this error, whatever its options say.
function giveUp(job: JudgedJob, error: unknown): boolean {
  const { shouldRetryJob } = job;
  if (shouldRetryJob === undefined) return false;
  answerOnce(job, shouldRetryJob, error, Promise.resolve([false, 0]));
  return true;
}

function answerOnce(
  job: JudgedJob,
  ask: NonNullable<JudgedJob["shouldRetryJob"]>,
  about: unknown,
  answer: Promise<readonly [boolean, number]>,
): void {
  const value = (error: unknown): Promise<readonly [boolean, number]> =>
    error === about ? answer : ask.call(job, error);
  Object.defineProperty(job, "shouldRetryJob", { value, configurable: true });
}

// BullMQ 5 says so only when it has taken the job once more.
function isStartedTooOften({ queue, attemptsStarted = 0 }: JudgedJob): boolean {
  const most = queue?.opts?.maxStartedAttempts;
  return typeof most === "number" && most > 0 && most <= attemptsStarted;
}

// Out of a sandbox come copies, which BullMQ knows by their names alone.
function isNamed(error: unknown, classes: ReadonlyMap<string, string>): boolean {
  const name = fieldOf(error, "name");
  return typeof name === "string" && classes.has(name);
}

// Of BullMQ's class, or of one derived from it, whatever a minifier has made of their names.
function isOneOf(error: unknown, classes: ReadonlyMap<string, string>): boolean {
  return isNamed(error, classes) || [...classes.values()].includes(String(ownMessageOf(error)));
}

function ownMessageOf(error: unknown): unknown {
  const base = baseClassOf(error);
  if (base === undefined) return undefined;
  if (!ownMessages.has(base)) ownMessages.set(base, messageGivenNone(base));
  return ownMessages.get(base);
}

// The class right below Error: of BullMQ's errors, it is BullMQ's own.
function baseClassOf(error: unknown): ErrorClass | undefined {
  // BullMQ's errors name themselves; others' classes are not called for nothing
  if (!(error instanceof Error) || !Object.hasOwn(error, "name")) return undefined;
  let prototype: object = error;
  for (;;) {
    const next: object | null = Object.getPrototypeOf(prototype);
    if (next === null || next === Error.prototype) break;
    prototype = next;
  }
  // what it is will show when it is called
  return prototype === error ? undefined : (prototype.constructor as ErrorClass);
}

function messageGivenNone(Class: ErrorClass): unknown {
  try {
    return new Class().message;
  } catch {
    return undefined; // it needs arguments, as none of BullMQ's does
  }
}

function fieldOf(error: unknown, field: "name" | "message"): unknown {
  return typeof error === "object" && error !== null ? (error as Record<string, unknown>)[field] : undefined;
}
