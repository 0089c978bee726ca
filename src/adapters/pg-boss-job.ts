import type { SpanContext } from "@opentelemetry/api";
import { addressee, isOwnCarrier } from "../core/carrier.js";
import { safely } from "../core/guard.js";
import type { HandledJob } from "../core/handler.js";
import { attemptOfJob } from "../core/job-attempts.js";
import { insideAttempt } from "../core/live-attempt.js";
import { shared } from "../core/slot.js";
import type { Carrier } from "../core/types.js";
import { fieldsOf, wireCount } from "../core/wire.js";
import type { TelemetryWishes } from "../core/wished-telemetry.js";
import { type CarriedData, takeApart } from "../engines/pg-boss/carriers.js";
import { type AddressedJob, dueTime, PG_BOSS, routeOf } from "../engines/pg-boss/library.js";
import { nextIn } from "../engines/pg-boss/stored-task.js";
import type { Door, JobView } from "./door.js";
import { isShared } from "./pg-boss-add.js";
import { isOfSchedule } from "./pg-boss-column.js";

/** The messages in the output of a job whose worker was lost, as pg-boss 12.25 to 12.38 writes them. */
const LOST: readonly unknown[] = ["job timed out", "job heartbeat timeout"];
/** The keys of a job's metadata, as pg-boss 12.0 to 12.38 has it; other keys come without it, too. */
const METADATA: readonly string[] = [
  ...["policy", "state", "priority", "retryLimit", "retryDelay", "retryBackoff", "retryDelayMax", "startAfter"],
  ...["startedOn", "singletonKey", "singletonOn", "deleteAfterSeconds", "heartbeatOn", "createdOn", "completedOn"],
  ...["keepUntil", "deadLetter", "blocked", "blocking", "pendingDependencies", "output", "sourceName", "sourceId"],
  ...["sourceCreatedOn", "sourceRetryCount", "sourceOutput", "sourceRootId"],
];

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

/** What an attempt needs to know of a job. */
export interface ReadJob {
  readonly info: HandledJob;
  readonly wishes: TelemetryWishes;
}

/** The carriers of the jobs that came out of a column in this process. All copies of this package know them. */
const carriers = shared("pg-boss-carriers.1", () => new WeakMap<object, Carrier>());

/** Keeps the carriers that jobs have in their column. */
export function keepCarriers(jobs: readonly object[], found: readonly (Carrier | undefined)[]): void {
  for (const [index, job] of jobs.entries()) {
    const carrier = found[index];
    if (carrier !== undefined) carriers.set(job, carrier);
  }
}

/**
 * The carrier of a job of pg-boss's that an application has fetched by itself, for `runAttempt`: from pg-boss's trace
 * column where `withTasks` or `TaskInstrumentation` has made the instance, else from the job's data, where an older
 * release of `sendJob` has left it. `undefined` where there is none. Never throws.
 */
export function carrierOf(job: object): Carrier | undefined {
  const carrier = carriers.get(job);
  if (carrier !== undefined && Object.keys(carrier).length > (isOfSchedule(carrier) ? 1 : 0)) return carrier;
  return safely("reading a job's carrier", () => {
    const { id, data } = fieldsOf(job);
    const carried = takeApart(data)?.carrier;
    return carried !== undefined && addressee(carried).id === id ? carried : undefined;
  });
}

/**
 * Calls `fn` in the task of one job of a batch: `getTaskContext()` tells it, and the job's attempt has the spans and the
 * log lines. `job` is the very object that pg-boss has handed to the handler; for any other, `fn` is called as it is.
 * Returns and throws what `fn` does.
 */
export function inTask<T>(job: object, fn: () => T): T {
  const known = attemptOfJob(job);
  return known === undefined ? fn() : insideAttempt(known, fn);
}

/** A job, as the functions of a door see it. */
export function viewOf({ id, name, data, retryCount }: TaskJob): JobView {
  return { library: PG_BOSS, queue: name, name, id, data, attempt: wireCount(retryCount) ?? 0 };
}

/** Reads a job by a door, with what its data and its column have for a carrier. */
export function readJob(job: TaskJob, door: Door, inData: CarriedData, failed: SpanContext | undefined): ReadJob {
  const view = viewOf(job);
  const inColumn = carriers.get(job);
  const own = inData.carrier ?? (isOwnCarrier(inColumn) ? inColumn : undefined);
  const carrier = own ?? door.carrier?.(view) ?? inColumn;
  const isScheduled = isOfSchedule(inColumn);
  const relation = door.relation?.(view);
  const info = {
    ...attemptInfo(job, carrier, failed),
    tags: isOwnCarrier(carrier) && !isShared(carrier) ? undefined : door.tags?.(view),
    // what a schedule runs is in nobody's trace
    relation: isScheduled && relation !== "none" ? "link" : relation,
  } as const;
  return { info, wishes: { label: door.name?.(view), isScheduled, retryStatus: door.retryStatus } };
}

/** The facts of an attempt that are a job's own; `failed` is the span of the run before, where that failed here. */
export function attemptInfo(job: TaskJob, carrier: Carrier | undefined, failed: SpanContext | undefined): HandledJob {
  const { id, name, retryCount = 0, retryLimit, startAfter, expireInSeconds, output, signal } = job;
  const { engine, system, destination } = routeOf(name);
  return {
    engine,
    system,
    destination,
    funcName: name,
    taskId: id,
    attempt: wireCount(retryCount) ?? 0,
    // it is unknown of a job without its metadata
    maxAttempts: retryLimit === undefined ? undefined : (wireCount(retryLimit) ?? 0) + 1,
    dueAt: dueTime(startAfter),
    redelivered: retryCount > 0 && failed === undefined && LOST.includes(fieldsOf(fieldsOf(output).value).message),
    previous: nextIn(output)?.previous ?? failed,
    signal,
    timeout: expireInSeconds * 1000,
    carrier,
  };
}

/** Names an attempt of a job, whatever its queue. */
export function attemptKey(id: string, retryCount: number): string {
  return `${id}/${retryCount}`;
}

/** Takes a job's metadata away, in which a handler that did not ask for it would find keys that it does not know. */
export function hideMetadata(job: object): void {
  // older releases count claims in a job's metadata alone
  const hidden = "sourceRootId" in job ? METADATA : [...METADATA, "retryCount"];
  for (const key of hidden) Reflect.deleteProperty(job, key);
}
