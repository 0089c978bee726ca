import { describeException } from "../../core/exception.js";
import { safely, warn } from "../../core/guard.js";
import { storable } from "../../core/text.js";
import { fieldsOf } from "../../core/wire.js";
import type { Settlement, StoreAnswer } from "../engine.js";
import { ENVELOPE_KEY, nextAttempt } from "../envelope.js";
import {
  type CommandAnswer,
  claimOf,
  type FetchedJob,
  isRefusal,
  type JobClaim,
  type PgBossInstance,
  secondsUntil,
} from "./library.js";
import { ENDLESS, lostRuns, type Progress, progressIn, type StoredTask, withProgress } from "./stored-task.js";

const NO_RETRY = { retryLimit: 0 };
/** Errors that a failed task keeps below the one that was thrown. */
const MAX_CAUSES = 4;

/** The part of an error that a failed task keeps. Each text is bounded, well-formed and without NUL. */
export interface FailureOutput {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: FailureOutput;
}

/** Sends one statement to pg-boss, about the engine's queue; rejects when pg-boss does, or gives no answer. */
export type Ask = <T>(statement: (boss: PgBossInstance, queue: string) => Promise<T>) => Promise<T>;

/** The ways in which an end is stored. */
export interface Statements {
  readonly ask: Ask;
  /** Completes a claimed job, with others of the same moment; false where that is not certain. Rejects as {@link Ask}. */
  complete(job: FetchedJob): Promise<boolean>;
}

/**
 * Stores in pg-boss how an attempt ended. Rejects when pg-boss does; another call then goes on where that one came to.
 * Each begins with a statement that changes only what the attempt's own claim holds. Where it has changed nothing, the
 * job itself says whether an earlier call did it, whose answer was lost; else the claim is.
 */
export async function settle(statements: Statements, task: StoredTask, end: Settlement): Promise<StoreAnswer> {
  const { job, progress } = task;
  const { ask } = statements;
  switch (end.outcome) {
    case "success":
      return (await statements.complete(job)) ? undefined : await endedAs("completed", ask, job);
    case "cancelled": {
      const { affected } = await ask((boss, queue) => boss.cancel(queue, claimOf(job)));
      return affected !== 0 ? undefined : await endedAs("cancelled", ask, job);
    }
    case "failure":
      return await giveUp(ask, task, failureOutput(end.error));
    case "retry": {
      const next = nextAttempt(progress?.next?.attempt ?? 0, end);
      return await giveBack(ask, task, { next, dueAt: next.dueAt, output: failureOutput(end.error) });
    }
    case "deferred": {
      const dueAt = Date.now() + end.delay;
      return await giveBack(ask, task, { next: progress?.next, dueAt, output: {}, lost: lostRuns(task) });
    }
  }
}

/** Does the rest, where storing the last attempt's end was cut short; as {@link settle}. */
export async function resettle(ask: Ask, task: StoredTask): Promise<StoreAnswer> {
  const { job, progress } = task;
  const { [ENVELOPE_KEY]: _progress, ...output } = fieldsOf(job.output);
  if (progress?.ended === true) return await giveUp(ask, task, output);
  const { next } = progress ?? {};
  return await giveBack(ask, task, { next, dueAt: next?.dueAt ?? 0, output });
}

/** Reads what was thrown, whatever it is. Never throws. */
export function failureOutput(error: unknown, causes: number = MAX_CAUSES): FailureOutput {
  const { type, message, stack } = describeException(error);
  const cause = causes === 0 ? undefined : causeOf(error);
  return {
    name: storable(type),
    message: storable(message),
    ...(stack !== undefined && { stack: storable(stack) }),
    ...(cause !== undefined && { cause: failureOutput(cause, causes - 1) }),
  };
}

interface GivenBack {
  readonly next: Progress["next"];
  /** Epoch milliseconds. */
  readonly dueAt: number;
  readonly output: object;
  /** Runs that were lost before the one that is given back. */
  readonly lost?: number | undefined;
}

async function endedAs(state: "completed" | "cancelled", ask: Ask, job: FetchedJob): Promise<StoreAnswer> {
  const found = await look(ask, job);
  return found?.state === state ? undefined : "lost";
}

// pg-boss can only fail a job, with a delay in whole seconds that all of its failures share: a second statement sets
// the time. Should that be lost, the output of the first one says what is to follow.
async function giveBack(ask: Ask, task: StoredTask, { next, dueAt, output, lost }: GivenBack): Promise<StoreAnswer> {
  const { job } = task;
  const limit = await limitOf(ask, job);
  const progress: Progress = { claims: job.retryCount, next, lost };
  const { affected } = await fail(ask, claimOf(job), output, progress);
  if (affected === 0 && !isFailedBy(job, await look(ask, job))) return "lost";
  if (job.retryCount >= limit) await ask((boss, queue) => boss.retry(queue, job.id));
  const data = withProgress(task, progress);
  // a job that does not say how many of its runs were lost keeps the limit that its producer gave it
  const retryLimit = data === undefined ? limit + 1 : ENDLESS;
  const change = { id: job.id, startAfter: secondsUntil(dueAt), retryLimit };
  await ask((boss, queue) => boss.update(queue, data, change));
}

// While a job has retries to spare, pg-boss retries one that fails: they are taken from it in between.
async function giveUp(ask: Ask, task: StoredTask, output: object): Promise<StoreAnswer> {
  const { job } = task;
  const progress: Progress = { claims: job.retryCount, next: task.progress?.next, ended: true };
  const isLast = job.retryCount >= (await limitOf(ask, job));
  const { affected } = await fail(ask, claimOf(job), output, isLast ? undefined : progress);
  if (affected === 0) {
    const found = await look(ask, job);
    if (found?.state === "failed") return;
    if (!isFailedBy(job, found)) return "lost";
  }
  if (isLast) return;
  // should somebody retry it in pg-boss, none of its runs was lost
  const data = withProgress(task, { claims: job.retryCount, next: task.progress?.next });
  const { jobs } = await ask((boss, queue) => boss.update(queue, data, { id: job.id, ...NO_RETRY }));
  // where it has been claimed again meanwhile, that claim does the rest
  if (jobs.length > 0) await fail(ask, job.id, output);
}

// The end of an attempt matters more than its error: an error that the database does not take is left out.
async function fail(ask: Ask, claim: JobClaim, output: object, progress?: Progress): Promise<CommandAnswer> {
  const own = progress && { [ENVELOPE_KEY]: progress };
  try {
    return await ask((boss, queue) => boss.fail(queue, claim, { ...output, ...own }));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    warn("pg-boss refused what an attempt failed with; storing the failure without it", error);
    return await ask((boss, queue) => boss.fail(queue, claim, { ...own }));
  }
}

// Asked for once: an end that is stored changes it.
async function limitOf(ask: Ask, job: FetchedJob): Promise<number> {
  job.retryLimit ??= (await look(ask, job))?.retryLimit ?? ENDLESS;
  return job.retryLimit;
}

async function look(ask: Ask, { id }: FetchedJob): Promise<FetchedJob | undefined> {
  return (await ask((boss, queue) => boss.findJobs(queue, { id })))[0];
}

// Whoever has claimed it since leaves its output as it is, and knows by that what is left to do.
function isFailedBy(job: FetchedJob, found: FetchedJob | undefined): boolean {
  return progressIn(found?.output)?.claims === job.retryCount;
}

function causeOf(error: unknown): unknown {
  // anything may have been thrown, and a getter of it may throw in turn
  const read = (): unknown => (error as { cause?: unknown } | null | undefined)?.cause;
  return safely("reading the cause of what was thrown", read, undefined);
}
