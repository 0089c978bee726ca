import type { Delivery, EngineHost, TaskMessage } from "../engine.js";
import { argsOf, type Envelope, fieldsOf, type NextAttempt, readNextAttempt, seal, unseal } from "../envelope.js";
import { type BullmqJob, dueAtOf, maxAttemptsOf } from "./job.js";
import { taskIdOf } from "./job-id.js";

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

/** The data of a job whose attempt has failed. */
export function dataWithNext({ data, stalledCounter = 0 }: BullmqJob, next: NextAttempt): object {
  return { ...fieldsOf(data), next, stalls: stalledCounter };
}

export function hasStamp({ data }: BullmqJob, stamp: string): boolean {
  return fieldsOf(data).stamp === stamp;
}

/** The attempt a job is to be run as. What BullMQ itself says wins over what is stored with the task. */
export function deliveryOf(job: BullmqJob, host: EngineHost): Delivery {
  const { id = "", name, data, attemptsMade, stalledCounter = 0 } = job;
  const task = unseal(data);
  const { next, stalls } = fieldsOf(data);
  const noted = readNextAttempt(next);
  const planned = noted?.attempt === attemptsMade ? noted : undefined;
  return {
    origin: host.receive({ id: taskIdOf(id), name, carrier: task?.carrier, maxAttempts: maxAttemptsOf(job) }),
    args: argsOf(data),
    attempt: attemptsMade,
    dueAt: planned?.dueAt ?? dueAtOf(job),
    redelivered: stalledCounter > (typeof stalls === "number" ? stalls : 0),
    previous: planned?.previous,
    signal: undefined,
  };
}
