import type { TaskRoute } from "../../core/attributes.js";
import { MAX_TEXT } from "../../core/checks.js";
import { storable } from "../../core/text.js";
import type { Carrier } from "../../core/types.js";
import { fieldsOf, wireCount } from "../../core/wire.js";
import type { Delivery, EngineHost, TaskMessage } from "../engine.js";
import { argsOf, ENVELOPE_KEY, type Envelope, type NextAttempt, readNextAttempt, seal, unseal } from "../envelope.js";

/** Value of `task.engine`, and of `messaging.system`: what BullMQ's own instrumentation goes by. */
export const BULLMQ = "bullmq";

/** The task's name for a job without one. */
export const UNNAMED = "unnamed";

/** A mark in the carrier of a job that `addJob` added, which tells it from any other job that has, or had, its id. */
export const ADDED_KEY = "otel-taskflow-added";

/** Names the engine's own strategy for the wait before a retry. */
export const BACKOFF: { readonly type: string } = Object.freeze({ type: "otel-taskflow" });

/** Begins the ids of jobs whose task's own id cannot be theirs. */
const ESCAPED = "id=";
/** Letters and hyphens alone, such as "active" and "stalled-check": BullMQ names the keys of a queue so. */
const LIKE_A_KEY = /^[A-Za-z-]+$/;

/**
 * Marks a carrier that no job holds yet, for every copy of this package: who is given it has its enqueue span already.
 * A symbol is stored nowhere, so a carrier that was read from the store has no mark.
 */
const FRESH: unique symbol = Symbol.for("otel-taskflow.fresh");

/** The part of a job that is read; BullMQ 5, 6 and Pro have it, and jobs in a sandbox. */
export interface BullmqJob {
  readonly id?: string | undefined;
  readonly name: string;
  readonly data: unknown;
  opts: {
    readonly delay?: number | undefined;
    attempts?: number | undefined;
    backoff?: unknown;
    readonly [ENVELOPE_KEY]?: Carrier | undefined;
  };
  /** Epoch milliseconds at which it was made. */
  readonly timestamp: number;
  /** Attempts that ended; what was lost to a crash is none of them. */
  readonly attemptsMade: number;
  /** How often it was taken by a worker: attempts, what was lost, and what was put off. */
  readonly attemptsStarted?: number | undefined;
  /** How often it was taken from a worker that was gone. */
  readonly stalledCounter?: number | undefined;
  /** A stack for each failure; in a sandbox as JSON. */
  readonly stacktrace?: readonly string[] | string | null | undefined;
  /** The key of the scheduler that made it. */
  readonly repeatJobKey?: string | undefined;
}

/** A job's data: the task, and what this engine notes of its way. */
interface TaskData extends Envelope {
  /** Tells this task from another of the same id. */
  readonly stamp?: string | undefined;
  readonly next?: NextAttempt;
  /** The same of the attempt it is now, kept while the next one is already noted. */
  readonly now?: NextAttempt | undefined;
  /** How often a run of an attempt before was lost. */
  readonly stalls?: number;
}

// --- what a job says, whoever added it

/**
 * Puts the carrier that `enqueueTask` hands to `send` into a job's options, for schedulers. A scheduler repeats its
 * options for ever: enqueue with the relation `"link"`, or all its jobs end up in one trace.
 */
export function withCarrier<O extends object>(options: O, carrier: Carrier): O {
  // the mark is not seen by who compares the caller's carrier with another
  if (Object.isExtensible(carrier)) Object.defineProperty(carrier, FRESH, { value: true, configurable: true });
  return { ...options, [ENVELOPE_KEY]: carrier };
}

/** Does the same for a carrier that no caller has seen. */
export function withFreshCarrier(options: object, carrier: Carrier & { [FRESH]?: true }): object {
  carrier[FRESH] = true;
  return { ...options, [ENVELOPE_KEY]: carrier };
}

export function withoutCarrier(options: Record<string, unknown>): object {
  const { [ENVELOPE_KEY]: _carrier, ...others } = options;
  return others;
}

/** The carrier that a job's producer put into its options; anything, where that was none of ours. */
export function carrierIn({ opts }: Pick<BullmqJob, "opts">): Carrier | undefined {
  return opts[ENVELOPE_KEY];
}

/** Whether a job that is about to be added with these options has its enqueue span already. */
export function isEnqueued(options: Record<string, unknown>): boolean {
  return FRESH in fieldsOf(options[ENVELOPE_KEY]);
}

/** Hears of a job that was added: it holds its carrier from now on, and a copy of its options is a task of its own. */
export function markStored(job: unknown): void {
  const carrier = carriedBy(job);
  if (FRESH in carrier) delete carrier[FRESH];
}

/** The entries of a job's carrier, from a value that may be anything. */
export function carriedBy(job: unknown): Record<string | typeof FRESH, unknown> {
  return fieldsOf(fieldsOf(fieldsOf(job).opts)[ENVELOPE_KEY]) as Record<string | typeof FRESH, unknown>;
}

export function routeOf(queue: string | undefined): TaskRoute {
  return { engine: BULLMQ, system: BULLMQ, destination: queue };
}

/** Which attempt a job is to be run as; zero-based. */
export function attemptOf({ attemptsMade }: BullmqJob): number {
  return wireCount(attemptsMade) ?? 0;
}

/** How often BullMQ runs a job at most, whatever its producer wrote there. */
export function maxAttemptsOf({ opts }: BullmqJob): number {
  return Math.min(Math.max(1, Math.ceil(Number(opts.attempts)) || 1), Number.MAX_SAFE_INTEGER);
}

/**
 * When a job became due, in epoch milliseconds; `null` where a job does not say: of a retry, of a run after one that
 * was lost or put off, where its delay may have been changed, and where it may have waited for children.
 */
export function dueAtOf(job: BullmqJob): number | null {
  const { timestamp, opts, repeatJobKey } = job;
  const delay = Number(opts.delay) || 0;
  const known = isFirstRun(job) && (repeatJobKey !== undefined || (delay === 0 && !mayBeParent(job)));
  return known && timestamp + delay > 0 ? timestamp + delay : null;
}

/** Whether the run before this one was lost, and none has ended or was put off since. */
export function isRedelivered({ attemptsMade, attemptsStarted, stalledCounter = 0 }: BullmqJob): boolean {
  return attemptsMade === 0 && stalledCounter > 0 && (attemptsStarted ?? stalledCounter + 1) === stalledCounter + 1;
}

/** A name or id of BullMQ's as the core takes it: what is odd about one stops no job. */
export function labelOf(text: unknown): string | undefined {
  return typeof text === "string" && text !== "" ? storable(text, MAX_TEXT) : undefined;
}

// Retried by hand, a job may count from zero again; its stack traces stay.
function isFirstRun({ attemptsMade, attemptsStarted = 1, stacktrace }: BullmqJob): boolean {
  const failedBefore = stacktrace != null && stacktrace.length > 0 && stacktrace !== "[]";
  return attemptsMade === 0 && attemptsStarted <= 1 && !failedBefore;
}

// The jobs of a flow have no number for an id; nor have others whose id was given, where it was not by addJob.
function mayBeParent({ id = "", opts }: BullmqJob): boolean {
  return !/^\d+$/.test(id) && opts[ENVELOPE_KEY]?.[ADDED_KEY] === undefined;
}

// --- the ids of tasks and of their jobs

/**
 * The id of a task's job: the task's own, unless BullMQ would refuse it, take it for a number of its own, or keep the
 * job where a key of the queue is.
 */
function jobIdOf(taskId: string): string {
  const free = isAcceptable(taskId) && !LIKE_A_KEY.test(taskId) && Number.isNaN(Number(taskId));
  return free ? taskId : ESCAPED + taskId.replaceAll("%", "%25").replaceAll(":", "%3A");
}

/** Where a task's job may be: under {@link jobIdOf}, or under the id that an earlier release gave it. */
export function jobIdsOf(taskId: string): readonly string[] {
  const id = jobIdOf(taskId);
  return id !== taskId && isAcceptable(taskId) ? [id, taskId] : [id];
}

// Another producer may have named the job.
function taskIdOf(jobId: string): string {
  if (!jobId.startsWith(ESCAPED)) return jobId;
  return jobId.slice(ESCAPED.length).replaceAll("%3A", ":").replaceAll("%25", "%");
}

// BullMQ itself refuses some ids, and others would be taken for an escaped one.
function isAcceptable(taskId: string): boolean {
  const isInteger = String(Number.parseInt(taskId, 10)) === taskId;
  return !taskId.includes(":") && !isInteger && !taskId.startsWith(ESCAPED);
}

// --- tasks of the engine

/** The data of a new task's job; `stamp` where its id may be another task's too. */
export function taskData(message: TaskMessage, stamp: string | undefined): TaskData {
  return { ...seal(message), stamp };
}

/** The data of a job that will run again as its next attempt. */
export function dataWithNext(job: BullmqJob, next: NextAttempt): object {
  const { data, stalledCounter = 0 } = job;
  const args = argsOf(data);
  const task = unseal(data) === undefined && args !== undefined ? { args } : fieldsOf(data);
  // until it has moved, the job may run again as the attempt it is now
  return { ...task, next, now: planned(job), stalls: stalledCounter };
}

/** What was noted of the attempt a job is to be run as. */
function planned(job: BullmqJob): NextAttempt | undefined {
  const { next, now } = fieldsOf(job.data);
  if (next === undefined) return undefined;
  return [next, now].map(readNextAttempt).find((noted) => noted?.attempt === attemptOf(job));
}

export function hasStamp({ data }: BullmqJob, stamp: string | undefined): boolean {
  return fieldsOf(data).stamp === stamp;
}

/** Whether two jobs of one id are one task, at whatever attempt: an id may be used again. */
export function isSameTask(one: BullmqJob, other: BullmqJob): boolean {
  return one.timestamp === other.timestamp && fieldsOf(one.data).stamp === fieldsOf(other.data).stamp;
}

// Runs of this attempt that were lost; one that was given back counts for nothing.
function lostRunsOf({ data, stalledCounter = 0 }: BullmqJob): number {
  return Math.max(0, stalledCounter - (wireCount(fieldsOf(data).stalls) ?? 0));
}

/**
 * The attempt a job is to be run as, one of `mostAttempts`. What BullMQ itself says wins over what is stored with the
 * task. A job that was not added as a task runs as one whose argument is the job's data.
 */
export function deliveryOf(job: BullmqJob, host: EngineHost, mostAttempts: number): Delivery {
  const { id = "", name, data } = job;
  const attempt = attemptOf(job);
  const noted = planned(job);
  const stored = { id: taskIdOf(id), name, carrier: carrierOf(job), maxAttempts: maxAttemptsOf(job) };
  const origin = host.receive(stored);
  const { maxAttempts = mostAttempts } = origin;
  const lost = lostRunsOf(job);
  return {
    origin: maxAttempts <= mostAttempts ? origin : { ...origin, maxAttempts: mostAttempts },
    args: argsOf(data),
    attempt,
    dueAt: noted?.dueAt ?? firstDueOf(job),
    redelivered: lost > 0,
    lost,
    previous: noted?.previous,
  };
}

// A flow or a scheduler carries it in the job's options, as addJob does.
function carrierOf({ data, opts }: BullmqJob): Carrier | undefined {
  return (fieldsOf(data).carrier === undefined ? undefined : unseal(data)?.carrier) ?? opts[ENVELOPE_KEY];
}

// A task that was given back has been due all the time; of others' jobs that is not known.
function firstDueOf(job: BullmqJob): number | undefined {
  const { opts, timestamp } = job;
  if (fieldsOf(opts.backoff).type !== BACKOFF.type) return dueAtOf(job) ?? undefined;
  return attemptOf(job) === 0 ? timestamp + (Number(opts.delay) || 0) : undefined;
}
