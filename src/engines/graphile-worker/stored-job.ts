import { createHash } from "node:crypto";
import { describeException } from "../../core/exception.js";
import { ERROR_TYPE_OTHER } from "../../core/semconv.js";
import { cut, storable } from "../../core/text.js";
import { wireCount } from "../../core/wire.js";
import type { Delivery, StoredTask } from "../engine.js";
import { argsOf, fieldsOf, type NextAttempt, readNextAttempt, unseal } from "../envelope.js";
import { carrierIn } from "./carried-flags.js";
import type { GraphileJob } from "./graphile.js";

const MAX_IDENTIFIER = 128;
/** Begins the keys of jobs that another producer stored without one. */
const KEYLESS = "graphile-worker job ";
const MAX_REASON = 2_000;
/** PostgreSQL knows no later year than JavaScript writes with four digits. */
const LATEST = Date.UTC(9999, 11, 31);

/** A job as a delivery of a task, but for its origin. */
export interface ReceivedJob
  extends StoredTask,
    Pick<Delivery, "args" | "attempt" | "dueAt" | "redelivered" | "previous"> {}

/** Reads a job, whose payload may be anything. Never throws. */
export function receiveJob(job: GraphileJob, name: string): ReceivedJob {
  const sealed = isSealed(job);
  const next = readNextAttempt(fieldsOf(job.payload).next);
  // what failed before it came to this engine is a run of graphile-worker's own, and has left its error
  const failed = sealed || job.last_error === null ? 0 : attemptOf(job);
  return {
    id: idOf(job),
    name,
    args: argsOf(job.payload),
    carrier: sealed ? unseal(job.payload)?.carrier : carrierIn(job.flags),
    attempt: next?.attempt ?? failed,
    previous: next?.previous,
    dueAt: dueAtOf(job),
    // each attempt is a job of its own: one delivered before was not carried out
    redelivered: job.attempts > 1 && failed === 0,
  };
}

/** Which attempt of its own graphile-worker calls this run; zero-based. */
export function attemptOf({ attempts }: GraphileJob): number {
  return wireCount(attempts - 1) ?? 0;
}

/** The payload of the attempt after a failed one: of ours, whoever stored the one before. */
export function payloadWithNext({ args, carrier }: ReceivedJob, next: NextAttempt): object {
  return { args, carrier, next };
}

// Whether a job holds what the engine itself makes of a task; others have a carrier in a flag.
function isSealed({ payload }: GraphileJob): boolean {
  return unseal(payload) !== undefined && fieldsOf(payload).carrier !== undefined;
}

/** The key of a job's next run: a task that somebody called by a number is not the job of that number. */
export function keyOf({ id, key }: GraphileJob): string {
  return key ?? KEYLESS + id;
}

function idOf(job: GraphileJob): string {
  const key = keyOf(job);
  return key.startsWith(KEYLESS) ? key.slice(KEYLESS.length) : key;
}

/** Epoch milliseconds, whatever `pg` was told to make of a timestamp; `undefined` for one before 1970, or none. */
export function dueAtOf({ run_at }: Pick<GraphileJob, "run_at">): number | undefined {
  const dueAt = new Date(run_at).getTime();
  return Number.isFinite(dueAt) && dueAt >= 0 ? dueAt : undefined;
}

/** When a job may run; never earlier than said, since a Date cuts off fractions. */
export function runAtOf(dueAt: number): Date {
  return new Date(Math.min(Math.ceil(dueAt), LATEST));
}

/** graphile-worker's name of a task: the task's own, or its beginning and a hash where that does not fit. */
export function identifierOf(name: string): string {
  if (name.length <= MAX_IDENTIFIER) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 32);
  return `${cut(name, MAX_IDENTIFIER - 1 - hash.length)}#${hash}`;
}

/** Why a task ended, as `last_error` shows it. */
export function reasonOf(error: unknown): string {
  const { type, message } = describeException(error);
  const text = type === ERROR_TYPE_OTHER ? `the task threw ${message || '""'}` : message || type;
  return storable(text, MAX_REASON);
}
