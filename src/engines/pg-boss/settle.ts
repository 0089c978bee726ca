import { describeException } from "../../core/exception.js";
import { safely, warn } from "../../core/guard.js";
import { storable } from "../../core/text.js";
import { fieldsOf } from "../../core/wire.js";
import type { Settlement } from "../engine.js";
import { ENVELOPE_KEY, nextAttempt } from "../envelope.js";
import { claimOf, isRefusal, type JobClaim, type PgBossInstance } from "./library.js";
import { type Progress, type StoredTask, withProgress } from "./stored-task.js";

/** Runs of one attempt that may be lost with their workers: pg-boss fails the job when there is one more. */
export const SPARE_CLAIMS = 10;
/** Beyond what PostgreSQL can add to a date. */
const MAX_DELAY_MS = 1e13;
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

/** Stores in pg-boss how an attempt ended. Rejects when pg-boss does. */
export async function settle(boss: PgBossInstance, queue: string, task: StoredTask, end: Settlement): Promise<void> {
  const { job, progress } = task;
  switch (end.outcome) {
    case "success":
      await boss.complete(queue, claimOf(job));
      return;
    case "cancelled":
      await boss.cancel(queue, claimOf(job));
      return;
    case "failure":
      await giveUp(boss, queue, task, failureOutput(end.error));
      return;
    case "retry": {
      const next = nextAttempt(progress?.next?.attempt ?? 0, end);
      await giveBack(boss, queue, task, { next, dueAt: next.dueAt, output: failureOutput(end.error) });
      return;
    }
    case "deferred":
      await giveBack(boss, queue, task, { next: progress?.next, dueAt: Date.now() + end.delay, output: {} });
  }
}

/** Does the rest, where storing the last attempt's end was cut short. Rejects when pg-boss does. */
export async function resettle(boss: PgBossInstance, queue: string, task: StoredTask): Promise<void> {
  const { job, progress } = task;
  const { [ENVELOPE_KEY]: _progress, ...output } = fieldsOf(job.output);
  if (progress?.ended === true) await giveUp(boss, queue, task, output);
  else await giveBack(boss, queue, task, { next: progress?.next, dueAt: progress?.next?.dueAt ?? 0, output });
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

/** The seconds from now until `dueAt`, in epoch milliseconds, as pg-boss takes them; 0 for a time that has passed. */
export function secondsUntil(dueAt: number): number {
  const delay = Math.min(dueAt - Date.now(), MAX_DELAY_MS);
  return Math.max(0, Math.ceil(delay)) / 1000;
}

interface GivenBack {
  readonly next: Progress["next"];
  /** Epoch milliseconds. */
  readonly dueAt: number;
  readonly output: object;
}

// pg-boss can only fail a job, with a delay in whole seconds that all of its failures share: a second statement sets
// the time. Should that be lost, the output of the first one says what is to follow.
async function giveBack(boss: PgBossInstance, queue: string, task: StoredTask, given: GivenBack): Promise<void> {
  const { job } = task;
  const progress: Progress = { claims: job.retryCount, next: given.next };
  const { affected } = await fail(boss, queue, claimOf(job), given.output, progress);
  if (affected === 0) return;
  if (job.retryCount >= job.retryLimit) await boss.retry(queue, job.id);
  await boss.update(queue, withProgress(task, progress), {
    id: job.id,
    startAfter: secondsUntil(given.dueAt),
    retryLimit: job.retryCount + 1 + SPARE_CLAIMS,
  });
}

// While a job has retries to spare, pg-boss retries one that fails: they are taken from it in between.
async function giveUp(boss: PgBossInstance, queue: string, task: StoredTask, output: object): Promise<void> {
  const { job } = task;
  if (job.retryCount >= job.retryLimit) {
    await fail(boss, queue, claimOf(job), output);
    return;
  }
  const progress: Progress = { claims: job.retryCount, next: task.progress?.next, ended: true };
  const { affected } = await fail(boss, queue, claimOf(job), output, progress);
  if (affected === 0) return;
  const { jobs } = await boss.update(queue, undefined, { id: job.id, ...NO_RETRY });
  // where it has been claimed again meanwhile, that claim does the rest
  if (jobs.length > 0) await fail(boss, queue, job.id, output);
}

// The end of an attempt matters more than its error: an error that the database does not take is left out.
async function fail(
  boss: PgBossInstance,
  queue: string,
  claim: JobClaim,
  output: object,
  progress?: Progress,
): Promise<{ readonly affected?: number }> {
  const own = progress && { [ENVELOPE_KEY]: progress };
  try {
    return await boss.fail(queue, claim, { ...output, ...own });
  } catch (error) {
    if (!isRefusal(error)) throw error;
    warn("pg-boss refused what an attempt failed with; storing the failure without it", error);
    return await boss.fail(queue, claim, { ...own });
  }
}

function causeOf(error: unknown): unknown {
  // anything may have been thrown, and a getter of it may throw in turn
  const read = (): unknown => (error as { cause?: unknown } | null | undefined)?.cause;
  return safely("reading the cause of what was thrown", read, undefined);
}
