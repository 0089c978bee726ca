import { TaskConfigError } from "../../core/errors.js";
import type { Carrier } from "../../core/types.js";
import { ENVELOPE_KEY } from "../envelope.js";

/** What a job's data turned out to be. */
export interface CarriedData {
  /** As the producer passed it, and JSON made of it. */
  readonly data: unknown;
  /** `undefined` where the producer is none of this library's. */
  readonly carrier: Carrier | undefined;
}

/** The part of a job that tells whether its carrier was made for it; a job from a dead letter queue names its source. */
export interface AddressedJob {
  readonly id: string;
  readonly sourceId?: string | null;
  readonly sourceRootId?: string | null;
}

/**
 * Puts the carrier of `enqueueTask` into a job's data, for every way to create jobs besides `sendJob`: `insert` and
 * `flow` with the task's id as the job's, and `schedule`. An object gets one more key, anything else is wrapped;
 * `workTask` takes it out again, from jobs whose id the carrier names and from those of a schedule.
 *
 * @throws TaskConfigError for a function.
 */
export function withCarrier(data: unknown, carrier: Carrier): object {
  if (typeof data === "function") throw new TaskConfigError("data: expected what JSON can hold, received a function");
  if (isRecord(data) && !(ENVELOPE_KEY in data)) return { ...data, [ENVELOPE_KEY]: { carrier } };
  return { [ENVELOPE_KEY]: { carrier, data: data ?? null } };
}

/** Takes data and carrier apart as {@link withCarrier} has put them together; `undefined` where it has not. Never throws. */
export function takeApart(stored: unknown): (CarriedData & { readonly carrier: Carrier }) | undefined {
  if (!isRecord(stored) || !(ENVELOPE_KEY in stored)) return undefined;
  const { [ENVELOPE_KEY]: envelope, ...rest } = stored;
  if (!isRecord(envelope) || !isRecord(envelope.carrier)) return undefined;
  const { carrier, data = rest } = envelope;
  // of any shape: who reads a carrier believes nothing of it
  return { data, carrier: carrier as Carrier };
}

/**
 * Whether this task's carrier belongs to a job: only who made both knows the id. Anything else may be the body of a
 * request that a service passed on as data.
 */
export function isAddressedTo({ id, sourceId, sourceRootId }: AddressedJob, taskId: string | undefined): boolean {
  return taskId !== undefined && (taskId === id || taskId === sourceId || taskId === sourceRootId);
}

// What JSON writes as an object with these very keys.
function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return typeof (value as { toJSON?: unknown }).toJSON !== "function";
}
