import { createHash } from "node:crypto";
import { describeException } from "../../core/exception.js";
import { ERROR_TYPE_OTHER } from "../../core/semconv.js";
import type { Delivery, StoredTask } from "../engine.js";
import { type Envelope, type NextAttempt, readNextAttempt, unseal } from "../envelope.js";
import type { GraphileJob } from "./graphile.js";

const MAX_IDENTIFIER = 128;
/** Begins the keys of jobs that another producer stored without one. */
const KEYLESS = "graphile-worker job ";
const MAX_REASON = 2_000;
/** PostgreSQL knows no later year than JavaScript writes with four digits. */
const LATEST = Date.UTC(9999, 11, 31);

/** What an engine's job holds: the task, and what the attempt after a failed one has to know. */
export interface StoredPayload extends Envelope {
  readonly next?: NextAttempt;
}

/** A job as a delivery of a task, but for its origin. */
export interface ReceivedJob
  extends StoredTask,
    Pick<Delivery, "args" | "attempt" | "dueAt" | "redelivered" | "previous"> {}

/** Reads a job, whose payload may be anything. Never throws. */
export function receiveJob(job: GraphileJob, name: string): ReceivedJob {
  const envelope = unseal(job.payload);
  const next = envelope && readNextAttempt((job.payload as Partial<StoredPayload>).next);
  return {
    id: idOf(job),
    name,
    args: envelope?.args,
    carrier: envelope?.carrier,
    attempt: next?.attempt ?? 0,
    previous: next?.previous,
    dueAt: dueAtOf(job),
    // each attempt is a job of its own: one delivered before was not carried out
    redelivered: job.attempts > 1,
  };
}

/** The key of a job's next run: a task that somebody called by a number is not the job of that number. */
export function keyOf({ id, key }: GraphileJob): string {
  return key ?? KEYLESS + id;
}

function idOf(job: GraphileJob): string {
  const key = keyOf(job);
  return key.startsWith(KEYLESS) ? key.slice(KEYLESS.length) : key;
}

/** Epoch milliseconds, whatever `pg` was told to make of a timestamp. */
export function dueAtOf({ run_at }: Pick<GraphileJob, "run_at">): number | undefined {
  const dueAt = new Date(run_at).getTime();
  return Number.isFinite(dueAt) ? dueAt : undefined;
}

/** When a job may run; never earlier than said, since a Date cuts off fractions. */
export function runAtOf(dueAt: number): Date {
  return new Date(Math.min(Math.ceil(dueAt), LATEST));
}

/** graphile-worker's name of a task: the task's own, or its beginning and a hash where that does not fit. */
export function identifierOf(name: string): string {
  if (name.length <= MAX_IDENTIFIER && !name.includes("\0")) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 32);
  return `${name.slice(0, MAX_IDENTIFIER - 1 - hash.length).replaceAll("\0", "")}#${hash}`;
}

/** Why a task ended, as `last_error` shows it; without what PostgreSQL or its JSON cannot hold. */
export function reasonOf(error: unknown): string {
  const { type, message } = describeException(error);
  const text = type === ERROR_TYPE_OTHER ? `the task threw ${message || '""'}` : message || type;
  return Buffer.from(text.slice(0, MAX_REASON)).toString().replaceAll("\0", "");
}
