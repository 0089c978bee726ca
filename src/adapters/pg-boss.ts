import type { SpanContext } from "@opentelemetry/api";
import { checkFunction, checkObject, checkText } from "../core/checks.js";
import { enqueueTask } from "../core/enqueue.js";
import { isNonRetryableError, TaskConfigError } from "../core/errors.js";
import { type HandledJob, type HandlerRunner, handlerRunner } from "../core/handler.js";
import { HOME } from "../core/home.js";
import { splitProducerOptions, splitTelemetryOptions } from "../core/info-keys.js";
import { Recent } from "../core/recent.js";
import { isThenable } from "../core/thenable.js";
import type { Carrier, ProducerOptions, TaskContext, TaskTelemetryOptions } from "../core/types.js";
import { fieldsOf, wireCount } from "../core/wire.js";
import { Carriers, withCarrier } from "../engines/pg-boss/carriers.js";
import { type AddressedJob, dueTime, routeOf, type Scheduler } from "../engines/pg-boss/library.js";
import { nextIn, outputWithNext } from "../engines/pg-boss/stored-task.js";
import { errorOutput, resultOutput } from "./pg-boss-output.js";

/** Characters of a batch's outputs, all together: they travel in one statement, of which PostgreSQL takes 256 MB. */
const MAX_OUTPUT = 33_554_432;
/** The messages in the output of a job whose worker was lost, as pg-boss 12.25 to 12.38 writes them. */
const LOST: readonly unknown[] = ["job timed out", "job heartbeat timeout"];

/** The part of a `PgBoss` instance that sends jobs. */
export interface JobSender {
  send(name: string, data: object, options: object): Promise<string | null>;
}

/** What pg-boss's own `send` takes as its options. */
export type SendOptionsOf<B> = B extends { send: (name: string, data: never, options: infer O) => unknown }
  ? NonNullable<O>
  : object;

/** What `sendJob` takes besides them. */
export type SendJobOptions = ProducerOptions;

/** A job as pg-boss hands it out with its metadata; there is more in it than is named here. */
export interface TaskJob<Data = unknown> extends AddressedJob {
  readonly id: string;
  /** The queue. */
  readonly name: string;
  readonly data: Data;
  /** The task's own signal, which stays quiet once the attempt has succeeded. */
  readonly signal: AbortSignal;
  /** Runs before this one, those lost in a crash included. */
  readonly retryCount: number;
  readonly retryLimit: number;
  readonly startAfter: Date;
  readonly createdOn: Date;
  readonly expireInSeconds: number;
  readonly singletonKey: string | null;
  /** What the last failed run left. */
  readonly output: object | null;
}

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
 * `boss.send` with tags: it runs within an enqueue span, and the job gets a carrier, as one key more of its data, which
 * {@link workTask} takes out again. Resolves to what `send` did: the job's id, or `null` where pg-boss stored no job
 * because of a singleton or throttle rule, which is not counted. Works without an SDK.
 *
 * @throws TaskConfigError for an illegal tag or option; nothing is sent then.
 */
export async function sendJob<B extends JobSender>(
  boss: B,
  queue: string,
  data?: unknown,
  // none of pg-boss's options has to be given
  options: SendOptionsOf<B> & SendJobOptions = {} as SendOptionsOf<B>,
): Promise<string | null> {
  checkObject("sendJob(): its first argument", boss);
  checkFunction("send of the PgBoss", boss.send);
  checkText("queue", queue);
  checkObject("sendJob(): its options", options);
  const [own, sendOptions] = splitProducerOptions(options);
  // pg-boss's own option of this name, which is checked as any task's id
  const taskId = fieldsOf(sendOptions).id as string | undefined;
  const send = (carrier: Carrier, id: string): Promise<string | null> =>
    boss.send(queue, withCarrier(data, carrier), { ...sendOptions, id });
  return await enqueueTask({ ...own, ...routeOf(queue), funcName: queue, taskId }, send, {
    isStored: (id) => id !== null,
  });
}

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
  const run = (job: TaskJob, _: number, { length }: readonly TaskJob[]): Promise<JobResult> =>
    runJob(job, worker, MAX_OUTPUT / length);
  const settings = { ...workOptions, includeMetadata: true, perJobResults: true };
  // the jobs belong to no one who happened to start the worker
  return await HOME.runInAsyncScope(() => boss.work(queue, settings, (jobs) => Promise.all(jobs.map(run))));
}

async function runJob(job: TaskJob, worker: TaskWorker, mostOutput: number): Promise<JobResult> {
  const { carriers, runHandler, jobHandler, failed } = worker;
  try {
    const read = carriers.read(job);
    // not awaited without need: the attempt's timeout has to start before pg-boss's own
    const { data, carrier } = isThenable(read) ? await read : read;
    const info = attemptInfo(job, carrier, failed.take(attemptKey(job)));
    const { end, span } = await runHandler(info, (task) => jobHandler(jobOf(job, data, task)));
    if (end.outcome === "success") {
      return { id: job.id, status: "completed", output: resultOutput(end.value, mostOutput) };
    }
    failed.keep(attemptKey(job, 1), span);
    return failedResult(job, end.error, outputWithNext(errorOutput(end.error, mostOutput), job, span));
  } catch (error) {
    // pg-boss did not say what its schedules are
    return failedResult(job, error, errorOutput(error, mostOutput));
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

function attemptKey({ id, retryCount }: TaskJob, later = 0): string {
  return `${id}/${retryCount + later}`;
}

function attemptInfo(job: TaskJob, carrier: Carrier | undefined, failed: SpanContext | undefined): HandledJob {
  const { id, name, retryCount, retryLimit, startAfter, expireInSeconds, output, signal } = job;
  const { engine, system, destination } = routeOf(name);
  return {
    engine,
    system,
    destination,
    funcName: name,
    taskId: id,
    attempt: wireCount(retryCount) ?? 0,
    maxAttempts: (wireCount(retryLimit) ?? 0) + 1,
    dueAt: dueTime(startAfter),
    redelivered: retryCount > 0 && failed === undefined && LOST.includes(fieldsOf(fieldsOf(output).value).message),
    previous: nextIn(output)?.previous ?? failed,
    signal,
    timeout: expireInSeconds * 1000,
    carrier,
  };
}

// `resolveFlow` came right after the results of single jobs; an older pg-boss would take a failed job for a completed one.
function checkBoss(boss: JobWorker): void {
  checkObject("workTask(): its first argument", boss);
  checkFunction("work of the PgBoss", boss.work);
  if (typeof fieldsOf(boss).resolveFlow === "function") return;
  throw new TaskConfigError("workTask(): expected a PgBoss of version 12.22 or later, received an older one");
}
