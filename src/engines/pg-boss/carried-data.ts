import { TaskConfigError } from "../../core/errors.js";
import type { Carrier } from "../../core/types.js";
import { ENVELOPE_KEY } from "../envelope.js";

/** What a job's data turned out to be. */
export interface CarriedData {
  /** As the producer passed it, and JSON made of it. */
  readonly data: unknown;
  /** `undefined` where the producer is none of this library's; otherwise possibly damaged. */
  readonly carrier: Carrier | undefined;
}

/**
 * Puts the carrier of `enqueueTask` into a job's data, for every way to create jobs besides `sendJob`: `insert`,
 * `flow`, `schedule`. An object gets one more key, anything else is wrapped; `workTask` takes it out again.
 *
 * @throws TaskConfigError for a function.
 */
export function withCarrier(data: unknown, carrier: Carrier): object {
  if (typeof data === "function") throw new TaskConfigError("data: expected what JSON can hold, received a function");
  if (isRecord(data) && !(ENVELOPE_KEY in data)) return { ...data, [ENVELOPE_KEY]: { carrier } };
  return { [ENVELOPE_KEY]: { carrier, data: data ?? null } };
}

/** Takes data and carrier apart; whatever is stored. Never throws. */
export function readCarried(stored: unknown): CarriedData {
  if (!isRecord(stored) || !(ENVELOPE_KEY in stored)) return { data: stored, carrier: undefined };
  const { [ENVELOPE_KEY]: envelope, ...rest } = stored;
  const { carrier, data = rest } = isRecord(envelope) ? envelope : {};
  // of any shape: who reads a carrier believes nothing of it
  return { data, carrier: carrier as Carrier };
}

// What JSON writes as an object with these very keys.
function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return typeof (value as { toJSON?: unknown }).toJSON !== "function";
}
