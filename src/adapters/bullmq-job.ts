import type { SpanContext } from "@opentelemetry/api";
import { boundedName } from "../core/bounded-name.js";
import { isOwnCarrier } from "../core/carrier.js";
import { quietly, safely } from "../core/guard.js";
import type { HandledEnd, HandledJob } from "../core/handler.js";
import { Recent } from "../core/recent.js";
import type { TaskRelation } from "../core/types.js";
import { fieldsOf, wireTime } from "../core/wire.js";
import type { TelemetryWishes } from "../core/wished-telemetry.js";
import { within } from "../core/within.js";
import {
  attemptOf,
  BULLMQ,
  dueAtOf,
  isRedelivered,
  labelOf,
  maxAttemptsOf,
  routeOf,
  UNNAMED,
} from "../engines/bullmq/stored-task.js";
import { findCarrier } from "./bullmq-carrier.js";
import type { JudgedJob } from "./bullmq-verdict.js";
import type { Door, JobView } from "./door.js";

/** How long a job may take to say whether it has children, in milliseconds. */
const CHILDREN_MS = 1_000;

/** By job: how many of its runs were deferred before its current attempt began, as this process knows. */
const deferredBefore = new Recent<number>();
/** By job and attempt: the span of the attempt before, as this process knows. */
const spanBefore = new Recent<SpanContext>();

/** A job as a worker hands it to a processor. */
export interface ProcessedJob extends JudgedJob {
  readonly queueName?: string | undefined;
  /** The message of its last failure; gone once the job was started again by hand. */
  readonly failedReason?: string | null | undefined;
  /** Whoever took it to run it; one that was fetched to be looked at has none. */
  readonly token?: unknown;
  getDependenciesCount?(): Promise<object>;
}

/** A job as it is to be run. */
export interface ReadJob {
  readonly info: HandledJob;
  readonly wishes: TelemetryWishes;
}

/** The reason for which a run is no part of its producer's trace. */
type Apart = "scheduled" | "replayed" | "deferred" | undefined;

/** A job that a processor was called with: a unit test may call it with anything, and what is missing has defaults. */
export function wholeJob(job: unknown): ProcessedJob {
  const fields = fieldsOf(job);
  const isWhole = typeof fields.opts === "object" && fields.opts !== null;
  // its other properties may be missing too, and are checked where they are read
  return (isWhole ? job : { ...fields, opts: {} }) as ProcessedJob;
}

/**
 * A job that a worker took and ended without a run, as it was before: by the time that this is told, the worker has
 * counted an attempt and kept its stack trace. What is ended in the store, as BullMQ 5.0 ends stalled jobs, has no count.
 */
export function beforeItsEnd(job: ProcessedJob): ProcessedJob {
  if (job.token === undefined) return job;
  const attemptsMade = Math.max(0, attemptOf(job) - 1);
  const stacktrace = tracesOf(job).slice(0, -1);
  // a job has methods and properties that its class gives it
  const before: ProcessedJob = Object.create(job, {
    attemptsMade: { value: attemptsMade },
    stacktrace: { value: stacktrace },
  });
  return before;
}

/** The job as the door's functions see it. */
export function viewOf(job: ProcessedJob): JobView {
  const { id, name, queueName, data } = job;
  const queue = labelOf(queueName) ?? "";
  return { library: BULLMQ, queue, name: labelOf(name) ?? UNNAMED, id: labelOf(id), data, attempt: attemptOf(job) };
}

/** Why a run starts a trace of its own; a parent that waited for its children looks as one that was deferred. */
export function apartOf(job: ProcessedJob): Apart {
  if (isScheduled(job)) return "scheduled";
  if (isReplay(job)) return "replayed";
  return wasDeferred(job) ? "deferred" : undefined;
}

/** Notes how a run ended, for the next one of the job: the job itself counts the deferred runs of all its attempts. */
export function noteEnd(job: ProcessedJob, { end: { outcome }, span }: HandledEnd<unknown>): void {
  if (outcome !== "retry") return;
  const deferred = deferredRuns(job);
  if (deferred > 0) deferredBefore.keep(keyOf(job), deferred);
  spanBefore.keep(attemptKey(job, attemptOf(job) + 1), span);
}

/** The span of the attempt before this one, where this process ran it. To be asked once a run. */
export function previousOf(job: ProcessedJob): SpanContext | undefined {
  const attempt = attemptOf(job);
  return attempt === 0 ? undefined : spanBefore.take(attemptKey(job, attempt));
}

/** Whether a job has, or had, children that it may have waited for. Never rejects. */
export async function hasChildren(job: ProcessedJob): Promise<boolean> {
  const asked = quietly("asking BullMQ for a job's children", async () => await job.getDependenciesCount?.());
  const counts = await within(CHILDREN_MS, asked, undefined);
  return Object.values(fieldsOf(counts)).some((count) => Number(count) > 0);
}

/** Reads what an attempt needs to know of a job. `name` stands for the names of all jobs. */
export function readJob(job: ProcessedJob, door: Door, apart: Apart, name: string | undefined): ReadJob {
  const { engine, system, destination } = routeOf(labelOf(job.queueName));
  const view = viewOf(job);
  const carrier = findCarrier(job, () => door.carrier?.(view));
  const info = {
    ...{ engine, system, destination, carrier },
    taskId: view.id,
    funcName: name ?? view.name,
    tags: isOwnCarrier(carrier) ? undefined : door.tags?.(view),
    attempt: view.attempt,
    maxAttempts: maxAttemptsOf(job),
    dueAt: dueAtOf(job),
    redelivered: isRedelivered(job),
    relation: relationOf(door.relation?.(view), apart),
  };
  const label = door.name?.(view) ?? name ?? boundedName(BULLMQ, destination ?? BULLMQ, view.name);
  const wishes = {
    label: label === info.funcName ? undefined : label,
    isScheduled: isScheduled(job),
    isReplay: apart === "replayed",
    retryStatus: door.retryStatus,
  };
  return { info, wishes };
}

// A link is all that a run apart has of its producer's trace.
function relationOf(asked: TaskRelation | undefined, apart: Apart): TaskRelation | undefined {
  return apart !== undefined && asked !== "none" ? "link" : asked;
}

// Both majors' schedulers leave their key with each job; version 5's repeatable jobs have the options as well.
function isScheduled({ repeatJobKey, opts }: ProcessedJob): boolean {
  return typeof repeatJobKey === "string" || fieldsOf(opts).repeat != null;
}

// --- what happened before this run

// A job that has come to its end and is started again keeps its attempts and its stack traces, unless they are set
// back, and loses the reason of its failure, which one that runs again by itself keeps.
function isReplay(job: ProcessedJob): boolean {
  const attempt = attemptOf(job);
  const traces = tracesOf(job);
  if (attempt >= maxAttemptsOf(job) || traces.length > attempt) return true;
  return attempt > 0 && !job.failedReason && !isWithoutMessage(traces.at(-1));
}

function tracesOf({ stacktrace }: ProcessedJob): readonly unknown[] {
  const traces = typeof stacktrace === "string" ? safely("reading a job", () => JSON.parse(stacktrace)) : stacktrace;
  return Array.isArray(traces) ? traces : [];
}

// BullMQ does not tell the reason of a failure that has none: the first line is the error's name alone then.
function isWithoutMessage(stack: unknown): boolean {
  return typeof stack === "string" && !/^[^\n]*: *[^\s]/.test(stack);
}

// A job that failed after it had been put off is not put off: its next attempt begins.
function wasDeferred(job: ProcessedJob): boolean {
  const deferred = deferredRuns(job);
  return deferred > 0 && deferred > before(job);
}

// Of the runs that began before this one, some ended as an attempt and some were lost: all others were deferred.
function deferredRuns(job: ProcessedJob): number {
  const { attemptsStarted, stalledCounter = 0 } = job;
  return typeof attemptsStarted === "number" ? attemptsStarted - attemptOf(job) - stalledCounter - 1 : 0;
}

function before(job: ProcessedJob): number {
  const key = keyOf(job);
  const known = deferredBefore.take(key) ?? 0;
  if (known > 0) deferredBefore.keep(key, known);
  return known;
}

function keyOf({ queueName, id }: ProcessedJob): string {
  return `${labelOf(queueName)} ${labelOf(id)}`;
}

// Ids may begin anew, in a queue that was emptied and in another server's.
function attemptKey(job: ProcessedJob, attempt: number): string {
  return `${keyOf(job)} ${wireTime(job.timestamp)} ${attempt}`;
}
