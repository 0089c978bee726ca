import { createHash } from "node:crypto";
import { describeException } from "../../core/exception.js";
import { safely, warn } from "../../core/guard.js";
import { ERROR_TYPE_OTHER } from "../../core/semconv.js";
import { cut, storable } from "../../core/text.js";
import type { Carrier } from "../../core/types.js";
import { fieldsOf, wireCount } from "../../core/wire.js";
import type { Delivery, StoredTask } from "../engine.js";
import { argsOf, type NextAttempt, readNextAttempt, unseal } from "../envelope.js";
import type { GraphileJob, GraphileJobSpec } from "./library.js";

/** A flag that begins so holds a carrier; graphile-worker compares flags with `forbiddenFlags` as a whole. */
const CARRIER_FLAG = "otel-taskflow:";
/** Begins the keys of jobs that another producer stored without one. */
const KEYLESS = "graphile-worker job ";
/** graphile-worker's own limit, in characters. */
const MAX_IDENTIFIER = 128;
const MAX_REASON = 2_000;
/** Epoch milliseconds; PostgreSQL knows no later year than JavaScript writes with four digits. */
export const LATEST: number = Date.UTC(9999, 11, 31);

/** A task to be stored. */
export interface NewTask {
  /** The task's id, and the job's key. */
  readonly id: string;
  readonly identifier: string;
  readonly payload: unknown;
  /** Milliseconds from now. */
  readonly delay: number;
  /** No task that lives has this id. */
  readonly fresh: boolean;
}

/** A job as a delivery of a task, but for its origin. */
export interface ReceivedTask extends StoredTask, Pick<Delivery, "args" | "attempt" | "redelivered" | "previous"> {
  /** Runs of this attempt that were lost before this one. */
  readonly lost: number;
  /** When a retry was due, in epoch milliseconds; `undefined` for a first attempt, of which its carrier tells. */
  readonly dueAt: number | undefined;
}

/** Reads a job, whose payload may be anything. Never throws. */
export function receiveTask(job: GraphileJob, name: string): ReceivedTask {
  const sealed = isSealed(job);
  const next = readNextAttempt(fieldsOf(job.payload).next);
  // a job of another producer may have failed before this engine ran it; graphile-worker then keeps the error of that run
  const failed = sealed || next !== undefined || job.last_error === null ? 0 : attemptOf(job);
  // each attempt is a job of its own, so a job that comes again is an attempt whose end was never stored
  const lost = (next?.lost ?? 0) + (failed === 0 ? attemptOf(job) : 0);
  return {
    id: idOf(job),
    name,
    args: argsOf(job.payload),
    carrier: sealed ? unseal(job.payload)?.carrier : carrierIn(job.flags),
    attempt: next?.attempt ?? failed,
    previous: next?.previous,
    // a job that was freed or given back has another `run_at`
    dueAt: next?.dueAt ?? (failed > 0 ? dueAtOf(job) : undefined),
    lost,
    redelivered: lost > 0,
  };
}

/** Which attempt of its own graphile-worker calls this run; zero-based. */
export function attemptOf({ attempts }: GraphileJob): number {
  return wireCount(attempts - 1) ?? 0;
}

/** The payload of the attempt after a failed one: in this engine's form, whoever stored the one before. */
export function payloadWithNext({ args, carrier }: ReceivedTask, next: NextAttempt): object {
  return { args, carrier, next };
}

/** The payload of an attempt that is given back: it stays as it was, but for the runs that were lost. */
export function givenBack({ payload }: GraphileJob, received: ReceivedTask): unknown {
  const { attempt, previous, lost, dueAt = Date.now() } = received;
  return lost === 0 ? payload : payloadWithNext(received, { attempt, dueAt, previous, lost });
}

/** The key of a job's next run. A job without a key gets one that no task's id can be mistaken for. */
export function keyOf({ id, key }: GraphileJob): string {
  return key ?? KEYLESS + id;
}

/** Epoch milliseconds, whatever `pg` was told to make of a timestamp; `undefined` for one before 1970, or none. */
export function dueAtOf({ run_at }: Pick<GraphileJob, "run_at">): number | undefined {
  const dueAt = new Date(run_at).getTime();
  return Number.isFinite(dueAt) && dueAt >= 0 ? dueAt : undefined;
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

/**
 * Puts the carrier that `enqueueTask` hands to `send` among the flags of a job, for every way to add one besides
 * `addJob`: `addJobs`, `quickAddJob`, SQL. Takes the place of a carrier that was there.
 */
export function withCarrier<S extends Pick<GraphileJobSpec, "flags">>(
  spec: S,
  carrier: Carrier,
): S & { flags: string[] } {
  const others = (spec.flags ?? []).filter((flag) => !flag.startsWith(CARRIER_FLAG));
  return { ...spec, flags: [...others, CARRIER_FLAG + JSON.stringify(carrier)] };
}

/** The carrier among a job's flags; `undefined` where there is none, empty where it is damaged. Never throws. */
export function carrierIn(flags: GraphileJob["flags"]): Carrier | undefined {
  const flag = Object.keys(flags ?? {}).find((key) => key.startsWith(CARRIER_FLAG));
  if (flag === undefined) return undefined;
  const text = flag.slice(CARRIER_FLAG.length);
  const carrier = safely("reading a job's flag", (): unknown => JSON.parse(text), undefined);
  // its entries may be anything: whoever reads a carrier checks them
  if (typeof carrier === "object" && carrier !== null) return carrier as Carrier;
  warn("a job's flag holds no carrier; going on without it");
  return {};
}

// The engine keeps a task's carrier in the payload; other producers' jobs have theirs in a flag, or none.
function isSealed({ payload }: GraphileJob): boolean {
  return unseal(payload) !== undefined && fieldsOf(payload).carrier !== undefined;
}

function idOf(job: GraphileJob): string {
  const key = keyOf(job);
  return key.startsWith(KEYLESS) ? key.slice(KEYLESS.length) : key;
}
