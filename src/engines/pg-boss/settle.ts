import { warn } from "../../core/guard.js";
import type { Settlement } from "../engine.js";
import { ENVELOPE_KEY, nextAttempt } from "../envelope.js";
import { claimOf, type JobClaim, type PgBossInstance } from "./boss.js";
import { failureOutput } from "./failure-output.js";
import { isRefusal } from "./refusal.js";
import { type Progress, type StoredTask, withProgress } from "./stored-task.js";

/** Runs of one attempt that may be lost with their workers: pg-boss fails the job when there is one more. */
export const SPARE_CLAIMS = 10;
/** Beyond what PostgreSQL can add to a date. */
const MAX_DELAY_MS = 1e13;
const NO_RETRY = { retryLimit: 0 };

/** Carries out in pg-boss what an attempt's end means. Rejects when pg-boss does. */
export async function settle(
  boss: PgBossInstance,
  queue: string,
  task: StoredTask,
  settlement: Settlement,
): Promise<void> {
  const { job, progress } = task;
  switch (settlement.kind) {
    case "done":
      await boss.complete(queue, claimOf(job));
      return;
    case "cancelled":
      await boss.cancel(queue, claimOf(job));
      return;
    case "fail":
      await giveUp(boss, queue, task, failureOutput(settlement.error));
      return;
    case "retry": {
      const next = nextAttempt(progress?.next?.attempt ?? 0, settlement);
      await giveBack(boss, queue, task, { next, dueAt: next.dueAt, output: failureOutput(settlement.error) });
      return;
    }
    case "release":
      await giveBack(boss, queue, task, { next: progress?.next, dueAt: Date.now() + settlement.delay, output: {} });
  }
}

/** What settling the last attempt left undone. */
export async function resettle(boss: PgBossInstance, queue: string, task: StoredTask): Promise<void> {
  const { job, progress } = task;
  const { [ENVELOPE_KEY]: _progress, ...output } = job.output as Record<string, unknown>;
  if (progress?.ended === true) await giveUp(boss, queue, task, output);
  else await giveBack(boss, queue, task, { next: progress?.next, dueAt: progress?.next?.dueAt ?? 0, output });
}

/** Seconds as pg-boss takes them: from now on, and not less than that. */
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

// pg-boss itself can only fail a job, with a delay in whole seconds that all of its failures share. What is to follow
// stands in the output from the same moment on, should the second statement be lost.
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

// While pg-boss has retries to spare, failing a job means to retry it: it is taken all of them in between.
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
  // none where it has been claimed again: that claim is there to do the rest
  if (jobs.length > 0) await fail(boss, queue, job.id, output);
}

// Why an attempt failed is worth less than that it ended: what the database does not take is left out.
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
