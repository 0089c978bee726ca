import { type AttemptRunner, attemptRunner } from "../core/attempt.js";
import { checkFunction, checkObject, checkText } from "../core/checks.js";
import { type ActiveAttempt, currentAttempt } from "../core/context.js";
import { enqueueTask } from "../core/enqueue.js";
import { isNonRetryableError, TaskConfigError } from "../core/errors.js";
import { safely } from "../core/guard.js";
import { isThenable } from "../core/thenable.js";
import type {
  AttemptInfo,
  Carrier,
  ProducerOptions,
  TaskContext,
  TaskInfo,
  TaskTelemetryOptions,
} from "../core/types.js";
import { wireCount } from "../core/wire.js";
import { ENVELOPE_KEY, nextAttempt, readNextAttempt } from "../engines/envelope.js";
import { HOME } from "../engines/home.js";
import { dueTime } from "../engines/pg-boss/boss.js";
import { type AddressedJob, withCarrier } from "../engines/pg-boss/carried-data.js";
import { Carriers, type Scheduler } from "../engines/pg-boss/carriers.js";
import { errorOutput, resultOutput } from "./pg-boss-output.js";

/** Characters of a batch's outputs, all together: they travel in one statement, of which PostgreSQL takes 256 MB. */
const MAX_OUTPUT = 33_554_432;
/** What pg-boss writes as the output of a job whose worker was lost. */
const LOST: readonly unknown[] = ["job timed out", "job heartbeat timeout"];

/** The part of a `PgBoss` instance that sends jobs. */
export interface JobSender {
  send(name: string, data: object, options: object): Promise<string | null>;
}

/** What pg-boss's own `send` takes as its options. */
export type SendOptionsOf<B> = B extends { send: (name: string, data: never, options: infer O) => unknown }
  ? NonNullable<O>
  : object;

/** What `sendJob` adds to them. */
export type SendJobOptions = ProducerOptions;

/** A job as pg-boss hands it out with its metadata; there is more in it than is named here. */
export interface TaskJob<Data = unknown> extends AddressedJob {
  readonly id: string;
  /** The queue. */
  readonly name: string;
  readonly data: Data;
  /** The task's own: quiet once the attempt has succeeded. */
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
  readonly runAttempt: AttemptRunner;
  readonly jobHandler: JobHandler;
  readonly carriers: Carriers;
}

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
 * `boss.send` with a PRODUCER span around it, and the job related to it: resolves to what `send` returned, `null`
 * where pg-boss stored no job because of a singleton or throttle rule. The job's data has one key more for every
 * reader but {@link workTask}. Needs no SDK.
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
  const { tags, relation, baggage, tracerProvider, meterProvider, ...own } = options;
  const task: TaskInfo = {
    funcName: queue,
    taskId: (own as { id?: string }).id, // of pg-boss's own options, and checked as any task's id
    tags,
    relation,
    baggage,
    tracerProvider,
    meterProvider,
    engine: "pg-boss",
    system: "pg-boss",
    destination: queue,
  };
  const send = (carrier: Carrier, id: string): Promise<string | null> =>
    boss.send(queue, withCarrier(data, carrier), { ...own, id });
  return await enqueueTask(task, send, { isStored: (id) => id !== null });
}

/**
 * `boss.work` with a handler for one job, also where `batchSize` is more than one: each job runs inside its own task
 * context and CONSUMER span, at once with the others of its batch, and is completed or failed by itself. What the
 * handler returns is stored as the job's output; a `NonRetryableError` fails the job for good. Resolves to the
 * worker's id. Needs pg-boss 12.22.
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
  const { tracerProvider, meterProvider, loggerProvider, baggage, logs, onLog, ...own } = options;
  const telemetry = { tracerProvider, meterProvider, loggerProvider, baggage, logs, onLog };
  const runAttempt = attemptRunner(jobHandler.name, telemetry);
  // whoever sends to the queue says what its data is
  const worker = { runAttempt, jobHandler: jobHandler as JobHandler, carriers: new Carriers(boss, queue) };
  const run = (job: TaskJob, _: number, { length }: readonly TaskJob[]): Promise<JobResult> =>
    runJob(job, worker, MAX_OUTPUT / length);
  const settings = { ...own, includeMetadata: true, perJobResults: true };
  // jobs belong to no one who happened to start the worker
  return await HOME.runInAsyncScope(() => boss.work(queue, settings, (jobs) => Promise.all(jobs.map(run))));
}

async function runJob(job: TaskJob, worker: TaskWorker, mostOutput: number): Promise<JobResult> {
  let running: ActiveAttempt | undefined;
  try {
    const read = worker.carriers.read(job);
    // at once where that can be: the attempt's timeout is to come before pg-boss's own
    const { data, carrier } = isThenable(read) ? await read : read;
    const output = await worker.runAttempt(infoOf(job, carrier), () => {
      running = currentAttempt();
      return worker.jobHandler(jobOf(job, data, running?.context));
    });
    return { id: job.id, status: "completed", output: resultOutput(output, mostOutput) };
  } catch (error) {
    const span = safely("reading a span's context", () => running?.span.spanContext(), undefined);
    const next = span && nextAttempt(job.retryCount, { kind: "retry", delay: 0, error, span });
    const output = { ...errorOutput(error, mostOutput), [ENVELOPE_KEY]: next };
    return { id: job.id, status: isNonRetryableError(error) ? "deadletter" : "failed", output };
  }
}

// The very object that pg-boss made for its handler: a copy of its forty fields costs more than an attempt.
function jobOf(job: TaskJob, data: unknown, task: TaskContext | undefined): TaskJob {
  const native = job.signal;
  const get = (): AbortSignal => task?.signal ?? native;
  return Object.defineProperty(Object.assign(job, { data }), "signal", { get, enumerable: true, configurable: true });
}

function infoOf(job: TaskJob, carrier: Carrier | undefined): AttemptInfo {
  const { id, name, retryCount, retryLimit, startAfter, expireInSeconds, signal } = job;
  const last = job.output as { value?: { message?: unknown }; [ENVELOPE_KEY]?: unknown } | null;
  return {
    funcName: name,
    engine: "pg-boss",
    system: "pg-boss",
    destination: name,
    taskId: id,
    attempt: wireCount(retryCount) ?? 0,
    maxAttempts: (wireCount(retryLimit) ?? 0) + 1,
    dueAt: dueTime(startAfter),
    redelivered: retryCount > 0 && LOST.includes(last?.value?.message),
    previous: readNextAttempt(last?.[ENVELOPE_KEY])?.previous,
    signal,
    timeout: expireInSeconds * 1000,
    carrier,
  };
}

function checkBoss(boss: JobWorker): void {
  checkObject("workTask(): its first argument", boss);
  checkFunction("work of the PgBoss", boss.work);
  // came right after the results of single jobs, without which a failed job would pass for a completed one
  if (typeof (boss as { resolveFlow?: unknown }).resolveFlow === "function") return;
  throw new TaskConfigError("workTask(): expected a PgBoss of version 12.22 or later, received an older one");
}
