import type { Carrier } from "../../core/types.js";
import type { Delivery, EngineHost, TaskMessage } from "../engine.js";
import {
  argsOf,
  ENVELOPE_KEY,
  type Envelope,
  fieldsOf,
  type NextAttempt,
  readNextAttempt,
  seal,
  unseal,
} from "../envelope.js";
import { attemptOf, type BullmqJob, dueAtOf, maxAttemptsOf } from "./job.js";
import { taskIdOf } from "./job-id.js";

/** Names the engine's own strategy for the wait before a retry. */
export const BACKOFF: { readonly type: string } = Object.freeze({ type: "otel-taskflow" });

/** A job's data: the task, and what this engine notes of its way. */
interface StoredTask extends Envelope {
  /** Tells this task from another of the same id. */
  readonly stamp?: string | undefined;
  readonly next?: NextAttempt;
  /** Stalls of the attempts before. */
  readonly stalls?: number;
}

export function taskData(message: TaskMessage, stamp: string | undefined): StoredTask {
  return { ...seal(message), stamp };
}

/** The data of a job that will run again: as its next attempt, or where there is none, as the same one. */
export function dataWithNext(job: BullmqJob, next: NextAttempt | undefined): object {
  const { data, stalledCounter = 0 } = job;
  const args = argsOf(data);
  const task = unseal(data) === undefined && args !== undefined ? { args } : fieldsOf(data);
  return { ...task, ...(next && { next }), stalls: stalledCounter };
}

export function hasStamp({ data }: BullmqJob, stamp: string): boolean {
  return fieldsOf(data).stamp === stamp;
}

/** Whether two jobs of one id are one task, at whatever attempt: an id may be used again. */
export function isSameTask(one: BullmqJob, other: BullmqJob): boolean {
  return one.timestamp === other.timestamp && fieldsOf(one.data).stamp === fieldsOf(other.data).stamp;
}

/** Whether the run before was lost. */
export function wasLost({ data, stalledCounter = 0 }: BullmqJob): boolean {
  const { stalls } = fieldsOf(data);
  return stalledCounter > (typeof stalls === "number" ? stalls : 0);
}

/**
 * The attempt a job is to be run as, one of `mostAttempts`. What BullMQ itself says wins over what is stored with the
 * task. A job that was not added as a task runs as one whose argument is the job's data.
 */
export function deliveryOf(job: BullmqJob, host: EngineHost, mostAttempts: number): Delivery {
  const { id = "", name, data } = job;
  const attempt = attemptOf(job);
  const noted = readNextAttempt(fieldsOf(data).next);
  const planned = noted?.attempt === attempt ? noted : undefined;
  const stored = { id: taskIdOf(id), name, carrier: carrierOf(job), maxAttempts: maxAttemptsOf(job) };
  const origin = host.receive(stored);
  const { maxAttempts = mostAttempts } = origin;
  return {
    origin: maxAttempts <= mostAttempts ? origin : { ...origin, maxAttempts: mostAttempts },
    args: argsOf(data),
    attempt,
    dueAt: planned?.dueAt ?? firstDueOf(job),
    redelivered: wasLost(job),
    previous: planned?.previous,
    signal: undefined,
  };
}

// A flow or a scheduler carries it in the job's options, as addJob does.
function carrierOf({ data, opts }: BullmqJob): Carrier | undefined {
  return unseal(data) === undefined || fieldsOf(data).carrier === undefined
    ? opts[ENVELOPE_KEY]
    : unseal(data)?.carrier;
}

// A task that was given back has been due all the time; of others' jobs that is not known.
function firstDueOf(job: BullmqJob): number | undefined {
  const { opts, timestamp } = job;
  if (fieldsOf(opts.backoff).type !== BACKOFF.type) return dueAtOf(job) ?? undefined;
  return attemptOf(job) === 0 ? timestamp + (Number(opts.delay) || 0) : undefined;
}
