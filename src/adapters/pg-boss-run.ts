import type { SpanContext } from "@opentelemetry/api";
import { checkFunction, checkObject, checkText } from "../core/checks.js";
import { isNonRetryableError, TaskConfigError } from "../core/errors.js";
import { type HandlerRunner, handlerRunner } from "../core/handler.js";
import { HOME } from "../core/home.js";
import { splitTelemetryOptions } from "../core/info-keys.js";
import { noteAttempt } from "../core/job-attempts.js";
import { Recent } from "../core/recent.js";
import { isThenable } from "../core/thenable.js";
import type { Carrier, TaskContext, TaskTelemetryOptions } from "../core/types.js";
import { fieldsOf } from "../core/wire.js";
import { Carriers } from "../engines/pg-boss/carriers.js";
import { ownCall, type Scheduler } from "../engines/pg-boss/library.js";
import { outputWithNext } from "../engines/pg-boss/stored-task.js";
import { columnOf, isOfSchedule } from "./pg-boss-column.js";
import { attemptInfo, attemptKey, keepCarriers, type TaskJob } from "./pg-boss-job.js";
import { errorOutput, MAX_OUTPUT, resultOutput } from "./pg-boss-output.js";

type JobHandler = (job: TaskJob) => unknown;

/** What the jobs of one `workTask` share. */
interface TaskWorker {
  readonly runHandler: HandlerRunner;
  readonly jobHandler: JobHandler;
  readonly carriers: Carriers;
  /** Spans of attempts that failed, where pg-boss takes one for lost that was about to say so. */
  readonly failed: Recent<SpanContext>;
}

/** How a job has ended, for pg-boss; `deadletter` fails it whatever retries it has. */
interface JobResult {
  readonly id: string;
  readonly status: "completed" | "failed" | "deadletter";
  readonly output: unknown;
}

/** The part of a `PgBoss` instance that runs workers. */
export interface JobWorker extends Scheduler {
  work(name: string, options: object, handler: (jobs: TaskJob[]) => Promise<JobResult[]>): Promise<string>;
}

/** What pg-boss's own `work` takes as its options, but for those that `workTask` sets itself. */
export type WorkOptionsOf<B> = B extends { work: (name: string, options: infer O, handler: never) => unknown }
  ? Omit<NonNullable<O>, "includeMetadata" | "perJobResults" | "transactional" | "transactionTimeoutSeconds">
  : object;

/**
 * `boss.work` with a handler for one job, also where `batchSize` is more than one: each job runs inside its own task
 * context and CONSUMER span, at once with the others of its batch, and is completed or failed by itself. What the
 * handler returns is stored as the job's output; a `NonRetryableError` fails the job for good. Resolves to the
 * worker's id, and rejects as `work` does. Needs pg-boss 12.22.
 *
 * @throws TaskConfigError for an option out of range, or an older pg-boss.
 */
export async function workTask<B extends JobWorker, Data = unknown>(
  boss: B,
  queue: string,
  options: WorkOptionsOf<B> & TaskTelemetryOptions,
  jobHandler: (job: TaskJob<Data>) => unknown,
): Promise<string> {
  checkBoss(boss);
  checkText("queue", queue);
  checkObject("workTask(): its options", options);
  checkFunction("workTask(): its handler", jobHandler);
  const [telemetry, workOptions] = splitTelemetryOptions(options);
  const worker: TaskWorker = {
    runHandler: handlerRunner(jobHandler.name, telemetry),
    jobHandler: jobHandler as JobHandler, // the caller says what the data of this queue is
    carriers: new Carriers(boss, queue),
    failed: new Recent(),
  };
  const settings = ownCall({ ...workOptions, includeMetadata: true, perJobResults: true });
  const runAll = async (jobs: readonly TaskJob[]): Promise<JobResult[]> => {
    const found = columnOf(boss)?.arrived(boss, queue, jobs) ?? [];
    const inColumn = isThenable(found) ? await found : found;
    keepCarriers(jobs, inColumn);
    return await Promise.all(jobs.map((job, n) => runJob(job, inColumn[n], worker, MAX_OUTPUT / jobs.length)));
  };
  // the jobs belong to no one who happened to start the worker
  return await HOME.runInAsyncScope(() => boss.work(queue, settings, runAll));
}

async function runJob(
  job: TaskJob,
  inColumn: Carrier | undefined,
  worker: TaskWorker,
  mostOutput: number,
): Promise<JobResult> {
  const { carriers, runHandler, jobHandler, failed } = worker;
  try {
    const read = carriers.read(job);
    // not awaited without need: the attempt's timeout has to start before pg-boss's own
    const { data, carrier } = isThenable(read) ? await read : read;
    const info = attemptInfo(job, carrier ?? inColumn, failed.take(attemptKey(job.id, job.retryCount)));
    const handle = (task: TaskContext): unknown => {
      noteAttempt(job);
      return jobHandler(jobOf(job, data, task));
    };
    const isScheduled = isOfSchedule(inColumn);
    const relation = isScheduled ? "link" : undefined;
    const { end, span } = await runHandler({ ...info, relation }, handle, { wishes: { isScheduled } });
    if (end.outcome === "success") {
      return { id: job.id, status: "completed", output: resultOutput(end.value, mostOutput, [job]) };
    }
    failed.keep(attemptKey(job.id, job.retryCount + 1), span);
    return failedResult(job, end.error, outputWithNext(errorOutput(end.error, mostOutput, [job]), job, span));
  } catch (error) {
    // pg-boss did not say what its schedules are
    return failedResult(job, error, errorOutput(error, mostOutput, [job]));
  }
}

function failedResult({ id }: TaskJob, error: unknown, output: object): JobResult {
  return { id, status: isNonRetryableError(error) ? "deadletter" : "failed", output };
}

// The very object that pg-boss made for its handler: a copy of its forty fields costs more than an attempt.
function jobOf(job: TaskJob, data: unknown, task: TaskContext): TaskJob {
  const get = (): AbortSignal => task.signal;
  return Object.defineProperty(Object.assign(job, { data }), "signal", { get, enumerable: true, configurable: true });
}

function checkBoss(boss: JobWorker): void {
  checkObject("workTask(): its first argument", boss);
  checkFunction("work of the PgBoss", boss.work);
  if (settlesEach(boss)) return;
  throw new TaskConfigError("workTask(): expected a PgBoss of version 12.22 or later, received an older one");
}

/**
 * Whether an instance's workers may settle the jobs of a batch one by one. An older pg-boss would take a failed job for a
 * completed one.
 */
export function settlesEach(boss: object): boolean {
  // it came right after that, in 12.22
  return typeof fieldsOf(boss).resolveFlow === "function";
}
