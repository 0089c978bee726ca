import type { TaskRoute } from "../../core/attributes.js";
import { MAX_TEXT } from "../../core/checks.js";
import { storable } from "../../core/text.js";
import type { Carrier } from "../../core/types.js";
import { wireCount } from "../../core/wire.js";
import { ENVELOPE_KEY } from "../envelope.js";

/** Value of `task.engine`, and of `messaging.system`: what BullMQ's own instrumentation goes by. */
export const BULLMQ = "bullmq";

/** For jobs without a name. */
export const UNNAMED = "unnamed";

/** In the carrier of a job that `addJob` added: tells it from any other job that has, or had, its id. */
export const ADDED_KEY = "otel-taskflow-added";

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
  /** Of failures; in a sandbox as JSON. */
  readonly stacktrace?: readonly string[] | string | null | undefined;
  /** Of the scheduler that made it. */
  readonly repeatJobKey?: string | undefined;
}

/**
 * Puts what `enqueueTask` hands to `send` into a job's options, for schedulers and flows. A scheduler repeats its
 * options for ever: enqueue with the relation `"link"`, or all its jobs end up in one trace.
 */
export function withCarrier<O extends object>(options: O, carrier: Carrier): O {
  return { ...options, [ENVELOPE_KEY]: carrier };
}

/** The carrier that a job's producer put into its options; anything, where that was none of ours. */
export function carrierIn({ opts }: BullmqJob): Carrier | undefined {
  return opts[ENVELOPE_KEY];
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
