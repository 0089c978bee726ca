/** What BullMQ does with a job whose processor threw; `undefined` where it only goes by the attempts left. */
export type Verdict = "deferred" | "failure" | "retry" | undefined;

/** The part of a job that BullMQ asks whether it runs again; jobs in a sandbox have no such methods. */
export interface JudgedJob {
  readonly attemptsStarted?: number | undefined;
  readonly queue?: { readonly opts?: { readonly maxStartedAttempts?: number | undefined } } | undefined;
  readonly getState?: unknown;
  /** Resolves to whether it does, and after how many ms. BullMQ's own; asked by its worker once a job has failed. */
  readonly shouldRetryJob?: ((error: unknown) => Promise<readonly [boolean, number]>) | undefined;
}

type ErrorClass = new () => Error;

/** The name by which BullMQ knows an error after which it runs a job no more. */
export const UNRECOVERABLE = "UnrecoverableError";
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

/** Decides as BullMQ will. Asks it where it can be asked, so that a backoff strategy is called once an attempt. */
export async function verdictOf(job: JudgedJob, error: unknown): Promise<Verdict> {
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

/** Keeps a job of this process from being retried after this error, whatever its options say. */
export function giveUp(job: JudgedJob, error: unknown): boolean {
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
