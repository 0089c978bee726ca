import type { SpanContext } from "@opentelemetry/api";
import { attemptRunner } from "../core/attempt.js";
import { checkFunction, checkKeys, checkObject, namesOf } from "../core/checks.js";
import { currentAttempt } from "../core/context.js";
import { enqueueTask } from "../core/enqueue.js";
import { isNonRetryableError } from "../core/errors.js";
import { quietly, safely } from "../core/guard.js";
import { TELEMETRY_KEYS } from "../core/info-keys.js";
import { passOnAbort } from "../core/pass-on-abort.js";
import type { AttemptInfo, ProducerOptions, TaskTelemetryOptions } from "../core/types.js";
import { wireCount } from "../core/wire.js";
import { carrierIn, withCarrier } from "../engines/graphile-worker/carried-flags.js";
import { failForGood } from "../engines/graphile-worker/fail-for-good.js";
import {
  GRAPHILE_WORKER,
  type GraphileHelpers,
  type GraphileJob,
  type GraphileJobSpec,
} from "../engines/graphile-worker/graphile.js";
import { schemaOf } from "../engines/graphile-worker/options.js";
import { Recent } from "../engines/graphile-worker/recent.js";
import { quoted } from "../engines/graphile-worker/sql.js";
import { attemptOf, dueAtOf, reasonOf } from "../engines/graphile-worker/stored-job.js";
import { HOME } from "../engines/home.js";
import { type FailedBatch, failedBatch, tellable } from "./graphile-worker-failure.js";

const KEYS = namesOf<GraphileTaskOptions>({ ...TELEMETRY_KEYS, schema: true });

/** graphile-worker's `WorkerUtils`, `JobHelpers` or `Runner`, or anything else that adds jobs. */
export interface GraphileJobAdder<J> {
  addJob(identifier: string, payload: unknown, spec?: GraphileJobSpec): Promise<J>;
}

/** What a job can be told besides graphile-worker's own `TaskSpec`. */
export type GraphileJobOptions = ProducerOptions;

/** The part of graphile-worker's `JobHelpers` that is used. */
export interface GraphileTaskHelpers extends GraphileHelpers {
  readonly abortSignal?: AbortSignal | undefined;
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

export interface GraphileTaskOptions extends TaskTelemetryOptions {
  /**
   * graphile-worker's schema, where a `NonRetryableError` fails its job. Default: `GRAPHILE_WORKER_SCHEMA`, or else
   * `graphile_worker`.
   */
  schema?: string | undefined;
}

/** What is known of a call of the task when it has failed. */
interface Call {
  span?: SpanContext | undefined;
  batch?: FailedBatch | undefined;
  /** Another job has taken its key, or it was removed: graphile-worker will not run it again. */
  superseded?: boolean;
}

/**
 * Adds a job as a task: an enqueue span around `utils.addJob`, and a carrier for `withTask` in a flag of the job; the
 * payload is stored as it is. Resolves to what `utils.addJob` resolves to; what it throws comes through untouched.
 *
 * @throws TaskConfigError for an illegal tag or option; nothing was added.
 */
export async function addJob<J>(
  utils: GraphileJobAdder<J>,
  identifier: string,
  payload: unknown,
  spec: GraphileJobSpec & GraphileJobOptions = {},
): Promise<J> {
  checkObject("addJob(): its first argument", utils);
  checkFunction("addJob(): the addJob of its first argument", utils.addJob);
  checkObject("addJob(): its spec", spec);
  const { tags, relation, baggage, tracerProvider, meterProvider, ...jobSpec } = spec;
  const { runAt, maxAttempts } = jobSpec;
  const options = { tags, relation, baggage, tracerProvider, meterProvider, maxAttempts };
  return await enqueueTask(
    { ...options, funcName: identifier, delay: delayUntil(runAt), engine: GRAPHILE_WORKER, system: GRAPHILE_WORKER },
    (carrier) => utils.addJob(identifier, payload, withCarrier(jobSpec, carrier)),
    { idOf: (job) => idOf(stored(job)), isStored: (job) => !stored(job).revision },
  );
}

// What is no date is for graphile-worker to refuse.
function delayUntil(runAt: Date | undefined): number {
  return runAt instanceof Date ? Math.max(0, runAt.getTime() - Date.now()) || 0 : 0;
}

function idOf({ id }: Partial<GraphileJob>): string | undefined {
  return id === undefined ? undefined : String(id);
}

// Whatever stands in for graphile-worker's utils may return anything.
function stored(job: unknown): Partial<GraphileJob> {
  return typeof job === "object" && job !== null ? job : {};
}

/**
 * Wraps a task of graphile-worker's: each run is an attempt. The task gets the payload and the helpers it would get
 * anyway; jobs of any producer are welcome. A `NonRetryableError` fails the job for good. What the task throws comes
 * through untouched, but for what graphile-worker cannot store, or on 0.16 a falsy value: that is the cause of an Error.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function withTask<P, H extends GraphileTaskHelpers, R>(
  task: (payload: P, helpers: H) => R,
  options: GraphileTaskOptions = {},
): (payload: P, helpers: H) => Promise<Awaited<R>> {
  checkFunction("withTask(): its first argument", task);
  checkKeys("withTask()", options, KEYS);
  const schema = schemaOf(options.schema);
  const runAttempt = attemptRunner(task.name, options);
  // of failed attempts, for the next one to link to if it runs here
  const spans = new Recent<SpanContext>();
  return async (payload, helpers): Promise<Awaited<R>> => {
    const { job } = helpers;
    const call: Call = {};
    const run = (): Promise<Awaited<R>> =>
      callTask(task, payload, helpers, call).catch(async (error: unknown) => {
        call.superseded = await isSuperseded(helpers, schema);
        throw error;
      });
    try {
      return await runAttempt<Awaited<R>>(infoOf(job, spans.take(attemptKey(job)), call), run);
    } catch (error) {
      if (call.span !== undefined) spans.keep(attemptKey(job, 1), call.span);
      // what the task returned, but for what cannot be told
      if (call.batch !== undefined) return call.batch.result as Awaited<R>;
      if (isNonRetryableError(error)) void HOME.runInAsyncScope(() => failJob(helpers, schema, error));
      throw tellable(error);
    }
  };
}

function attemptKey({ id, attempts }: GraphileJob, later = 0): string {
  return `${id}/${attempts + later}`;
}

function infoOf(job: GraphileJob, previous: SpanContext | undefined, call: Call): AttemptInfo {
  const { id, task_identifier, attempts, max_attempts, last_error, flags } = job;
  return {
    taskId: String(id),
    funcName: task_identifier,
    engine: GRAPHILE_WORKER,
    system: GRAPHILE_WORKER,
    attempt: attemptOf(job),
    maxAttempts: wireCount(max_attempts) || undefined,
    carrier: carrierIn(flags),
    dueAt: dueAtOf(job),
    // an attempt that ended in any way has removed the job, or left an error
    redelivered: attempts > 1 && last_error === null,
    previous,
    giveUpIf: () => call.superseded === true,
  };
}

// Only a job with a key can be replaced or removed while it runs: it has lost the key then.
async function isSuperseded(helpers: GraphileTaskHelpers, schema: string): Promise<boolean> {
  const { id, task_identifier, key } = helpers.job;
  if (key === null) return false;
  const over = "id = $1 and task_identifier = $2 and key is null and attempts >= max_attempts";
  const text = `select 1 from ${quoted(schema)}.jobs where ${over}`;
  const ask = async (): Promise<boolean> => (await helpers.query(text, [id, task_identifier])).rows.length > 0;
  return await quietly("looking for a job that failed", ask, false);
}

async function callTask<P, H extends GraphileTaskHelpers, R>(
  task: (payload: P, helpers: H) => R,
  payload: P,
  helpers: H,
  call: Call,
): Promise<Awaited<R>> {
  const attempt = currentAttempt();
  call.span = safely("reading a span's context", () => attempt?.span.spanContext(), undefined);
  const { abortSignal } = helpers;
  const stop = abortSignal && attempt && passOnAbort(abortSignal, attempt.context, "graphile-worker is shutting down");
  try {
    const result = await task(payload, helpers);
    call.batch = await failedBatch(payload, result);
    if (call.batch === undefined) return result;
    throw call.batch.error;
  } finally {
    stop?.();
  }
}

// By the columns of the row as well: another schema may have a job of that number.
function failJob(helpers: GraphileTaskHelpers, schema: string, error: unknown): Promise<void> {
  const { id, task_identifier, created_at } = helpers.job;
  const jobs = `${quoted(schema)}.jobs`;
  const same = "id = $1 and task_identifier = $2 and abs(extract(epoch from created_at - $3::timestamptz)) < 0.001";
  const ids = `array(select id from ${jobs} where ${same} and locked_at is null)`;
  const text = `select id from ${quoted(schema)}.permanently_fail_jobs(${ids}, $4)`;
  const values = [id, task_identifier, created_at, reasonOf(error)];
  return failForGood(String(id), async () => (await helpers.query(text, values)).rows);
}
