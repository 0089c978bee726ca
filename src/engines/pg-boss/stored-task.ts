import type { Delivery, EngineHost, TaskMessage } from "../engine.js";
import { argsOf, ENVELOPE_KEY, fieldsOf, type NextAttempt, readNextAttempt, seal, unseal } from "../envelope.js";
import { dueTime, type FetchedJob } from "./boss.js";

/** What is kept of a task that was given back: in the job's data, and in its output until that is written too. */
export interface Progress {
  /** The job's `retryCount` when it was settled. The next claim has one more; more than that were lost in a crash. */
  readonly claims: number;
  /** `undefined` as long as the first attempt has not failed. */
  readonly next: NextAttempt | undefined;
  /** It has given up, and only pg-boss does not know yet. */
  readonly ended?: boolean | undefined;
}

/** A fetched job, read. */
export interface StoredTask {
  readonly job: FetchedJob;
  /** `undefined` where the data names no task. */
  readonly name: string | undefined;
  readonly taskId: string;
  readonly progress: Progress | undefined;
  /** Storing the last attempt's end was cut short, and the next is not due: this claim is there to finish that. */
  readonly unsettled: boolean;
}

/** The data of a job: `{ name, args }` is enough for a producer without this library. */
export function dataOf({ origin, args }: TaskMessage): object {
  return { name: origin.name, ...seal({ origin, args }) };
}

/** Reads a job whose data and output may be anything. */
export function readJob(job: FetchedJob): StoredTask {
  const { name, progress } = fieldsOf(job.data);
  const settled = readProgress(progress);
  const left = readProgress(fieldsOf(job.output)[ENVELOPE_KEY]);
  const newer = left !== undefined && left.claims > (settled?.claims ?? -1);
  return {
    job,
    name: typeof name === "string" && name !== "" ? name : undefined,
    taskId: job.singletonKey ?? job.id,
    progress: newer ? left : settled,
    unsettled: newer && (left.ended === true || (left.next?.dueAt ?? 0) > Date.now()),
  };
}

/** What the host is to run, or to be told of. */
export function deliveryOf({ job, taskId, name = "", progress }: StoredTask, host: EngineHost): Delivery {
  const envelope = unseal(job.data);
  const origin = host.receive({ id: taskId, name, carrier: envelope?.carrier });
  const { attempt = 0, dueAt = origin.dueAt ?? dueTime(job.startAfter), previous } = progress?.next ?? {};
  return {
    origin,
    args: argsOf(job.data),
    attempt,
    dueAt,
    previous,
    redelivered: job.retryCount > (progress?.claims ?? -1) + 1,
    signal: undefined,
  };
}

/** The data of a job that is given back. */
export function withProgress({ job }: StoredTask, progress: Progress): object {
  return { ...fieldsOf(job.data), progress };
}

function readProgress(stored: unknown): Progress | undefined {
  const { claims, next, ended } = fieldsOf(stored);
  if (typeof claims !== "number") return undefined;
  return { claims, next: readNextAttempt(next), ended: ended === true };
}
