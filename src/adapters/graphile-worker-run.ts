import { setTimeout as pause } from "node:timers/promises";
import type { SpanContext } from "@opentelemetry/api";
import { checkFunction, checkKeys, namesOf } from "../core/checks.js";
import { isNonRetryableError } from "../core/errors.js";
import { storableError } from "../core/exception.js";
import { quietly, warn } from "../core/guard.js";
import { type HandledJob, handlerRunner, type Verdict } from "../core/handler.js";
import { HOME } from "../core/home.js";
import { TELEMETRY_KEYS } from "../core/info-keys.js";
import { Recent } from "../core/recent.js";
import { shared } from "../core/slot.js";
import type { Carrier, TaskTelemetryOptions } from "../core/types.js";
import { fieldsOf, wireCount } from "../core/wire.js";
import {
  GRAPHILE_WORKER,
  type GraphileHelpers,
  type GraphileJob,
  quoted,
  spendAttempts,
} from "../engines/graphile-worker/library.js";
import { schemaOf } from "../engines/graphile-worker/options.js";
import { attemptOf, carrierIn, dueAtOf } from "../engines/graphile-worker/stored-task.js";
import type { Door, JobView } from "./door.js";

const STOPPING = "graphile-worker is shutting down";
/** Who throws what is no Error, for `last_error`. */
const THROWER = "the task";
/** Waits before the tries to have a job spend its attempts, all of which come while it is locked. */
const TRIES_AFTER_MS: readonly number[] = [0, 100, 1_000];

const KEYS = namesOf<GraphileTaskOptions>({ ...TELEMETRY_KEYS, schema: true });

/** The part of graphile-worker's `JobHelpers` that is used. */
export interface GraphileTaskHelpers extends GraphileHelpers {
  readonly abortSignal?: AbortSignal | undefined;
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

/** What all jobs of a task have in common. */
export interface GraphileTaskOptions extends TaskTelemetryOptions {
  /**
   * graphile-worker's schema, where a `NonRetryableError` fails its job. Default: `GRAPHILE_WORKER_SCHEMA`, or else
   * `graphile_worker`, as graphile-worker has it. With a wrong one such a job is retried like any other. An empty one
   * is a `TaskConfigError`.
   */
  schema?: string | undefined;
}

/** Jobs of which an attempt runs here, by any copy of this package. */
const running = shared("graphile-running.1", () => new WeakSet<GraphileJob>());

/** A batch job that failed, in part or as a whole. */
interface FailedBatch {
  readonly error: AggregateError;
  /** What the task returned, for graphile-worker, which finds out itself which entries to keep. */
  readonly result: unknown[];
}

/**
 * Wraps a task of graphile-worker's, so that each run of a job is an attempt: in its task's context, within a span that
 * gets the outcome. The task gets the payload and the helpers that it would get anyway. A stopping worker aborts the
 * task's signal, and how the job then ends is up to the task. A `NonRetryableError` fails the job for good. What the
 * task throws reaches graphile-worker as it is, unless that cannot store its text, or takes it for success, as 0.16 does
 * with a falsy value: an Error with the value for its `cause` stands for it. Jobs of any producer are welcome: without
 * a carrier they have no tags.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function withTask<P, H extends GraphileTaskHelpers, R>(
  task: (payload: P, helpers: H) => R,
  options: GraphileTaskOptions = {},
): (payload: P, helpers: H) => Promise<Awaited<R>> {
  checkFunction("withTask(): its first argument", task);
  checkKeys("withTask()", options, KEYS);
  const { schema, ...telemetry } = options;
  return taskThrough({ telemetry }, task, schemaOf(schema));
}

/** {@link withTask} by the settings of a door. */
export function taskThrough<P, H extends GraphileTaskHelpers, R>(
  door: Door,
  task: (payload: P, helpers: H) => R,
  schema: string,
): (payload: P, helpers: H) => Promise<Awaited<R>> {
  const runHandler = handlerRunner(task.name, door.telemetry);
  /** Spans of attempts that failed, for the next attempt to link to, if it runs in this process. */
  const spans = new Recent<SpanContext>();
  return async (payload, helpers): Promise<Awaited<R>> => {
    const { job, abortSignal } = helpers;
    const view = viewOf(job, payload);
    // inside of another wrapper, the attempt is that one's
    if (running.has(job) || door.ignore?.(view) === true) return await task(payload, helpers);
    running.add(job);
    let batch: FailedBatch | undefined;
    const stop = abortSignal && { signal: abortSignal, message: STOPPING };
    const call = async (): Promise<Awaited<R>> => {
      const result = await task(payload, helpers);
      batch = await failedBatch(payload, result);
      if (batch !== undefined) throw batch.error;
      return result;
    };
    const foresee = (): Promise<Verdict> => verdictOf(helpers, schema);
    const info = attemptInfo(job, spans.take(attemptKey(job)), door, view);
    const wishes = { label: door.name?.(view), isScheduled: isScheduled(payload), retryStatus: door.retryStatus };
    const { end, span } = await runHandler(info, call, { stop, foresee, wishes });
    running.delete(job);
    if (end.outcome === "success") return end.value;
    const { error } = end;
    spans.keep(attemptKey(job, 1), span);
    // it is what the task returned, with other errors in the place of those that cannot be told
    if (batch !== undefined) return batch.result as Awaited<R>;
    if (isNonRetryableError(error)) await HOME.runInAsyncScope(() => failForGood(helpers, schema));
    throw storableError(error, THROWER);
  };
}

/**
 * The carrier among a job's flags, as its attempt would read it: for a job that something else than graphile-worker
 * fetched, to give to `runAttempt`. `undefined` for a job without one, empty for one that is damaged. Never throws.
 */
export function carrierOf(job: Pick<GraphileJob, "flags">): Carrier | undefined {
  return carrierIn(job.flags);
}

// Without a queue's name: a job that runs knows the number of its queue alone.
function viewOf({ id, task_identifier: name, attempts }: GraphileJob, data: unknown): JobView {
  return { library: GRAPHILE_WORKER, queue: name, name, id: String(id), data, attempt: Math.max(0, attempts - 1) };
}

// graphile-worker's crontab leaves a word of itself in the payload of each of its jobs.
function isScheduled(payload: unknown): boolean {
  return typeof fieldsOf(fieldsOf(payload)._cron).ts === "string";
}

function attemptKey({ id, attempts }: GraphileJob, later = 0): string {
  return `${id}/${attempts + later}`;
}

function attemptInfo(job: GraphileJob, previous: SpanContext | undefined, door: Door, view: JobView): HandledJob {
  const carrier = carrierOf(job);
  return {
    taskId: String(job.id),
    funcName: job.task_identifier,
    engine: GRAPHILE_WORKER,
    system: GRAPHILE_WORKER,
    attempt: attemptOf(job),
    maxAttempts: wireCount(job.max_attempts) || undefined,
    carrier: carrier ?? door.carrier?.(view),
    tags: carrier === undefined ? door.tags?.(view) : undefined,
    relation: door.relation?.(view),
    dueAt: dueAtOf(job),
    // an attempt that ended in any way has removed the job, or left an error
    redelivered: job.attempts > 1 && job.last_error === null,
    previous,
  };
}

// A job that was replaced or removed while it ran is not run again. It had a key, and has lost that by now.
async function verdictOf(helpers: GraphileTaskHelpers, schema: string): Promise<Verdict> {
  const { id, task_identifier, key } = helpers.job;
  if (key === null) return undefined;
  const over = "id = $1 and task_identifier = $2 and key is null and attempts >= max_attempts";
  const text = `select 1 from ${quoted(schema)}.jobs where ${over}`;
  const ask = async (): Promise<number> => (await helpers.query(text, [id, task_identifier])).rows.length;
  return (await quietly("looking for a job that failed", ask, 0)) > 0 ? "failure" : undefined;
}

// graphile-worker takes a job for a batch where its payload and its result are arrays of one length, and keeps the
// entries whose promise has rejected for the next attempt.
async function failedBatch(payload: unknown, result: unknown): Promise<FailedBatch | undefined> {
  if (!Array.isArray(payload) || !Array.isArray(result) || payload.length !== result.length) return undefined;
  const settled = await Promise.allSettled(result);
  const reasons = settled.flatMap((entry) => (entry.status === "rejected" ? [entry.reason] : []));
  if (reasons.length === 0) return undefined;
  const error = new AggregateError(reasons, `${reasons.length} of ${result.length} entries of the batch failed`);
  return { error, result: result.map((entry, index) => storableEntry(entry, settled[index])) };
}

function storableEntry(entry: unknown, end: PromiseSettledResult<unknown> | undefined): unknown {
  if (end?.status !== "rejected") return entry;
  const told = storableError(end.reason, THROWER);
  if (told === end.reason) return entry;
  const rejected = Promise.reject(told);
  // graphile-worker hears it later than Node would have it heard
  rejected.catch(() => {});
  return rejected;
}

// The job is still locked, so it cannot run again in between. Never rejects.
async function failForGood(helpers: GraphileTaskHelpers, schema: string): Promise<void> {
  const { id, locked_by } = helpers.job;
  const spend = (): Promise<{ rows: unknown[] }> => helpers.query(spendAttempts(schema), [id, locked_by]);
  for (const wait of TRIES_AFTER_MS) {
    if (wait > 0) await pause(wait);
    const answer = await quietly(`failing job ${id} for good`, spend, undefined);
    if (answer === undefined) continue;
    if (answer.rows.length > 0) return;
    break;
  }
  warn(`job ${id} could not be failed for good: graphile-worker will run it again`);
}
