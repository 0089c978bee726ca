import { isSpanContextValid, type SpanContext } from "@opentelemetry/api";

/** More attempts than any task has, and what 32-bit counters of databases hold. */
const MAX_COUNT = 2_147_483_647;
/** The last moment a Date can tell, in epoch milliseconds. */
const MAX_TIME = 8_640_000_000_000_000;
const MAX_TRACE_FLAGS = 255;

/**
 * A count as it was stored, zero-based numbers of attempts included: an integer from 0 to 2,147,483,647. `undefined`
 * for anything else, so that no damaged or edited row decides which attempt runs.
 */
export function wireCount(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_COUNT ? value : undefined;
}

/** A time as it was stored: positive epoch milliseconds that a Date can tell. `undefined` for anything else. */
export function wireTime(value: unknown): number | undefined {
  return typeof value === "number" && value > 0 && value <= MAX_TIME ? value : undefined;
}

/** The properties of a value that may be anything; none where it is no object. Reading them may run code, and throw. */
export function fieldsOf(value: unknown): Record<string, unknown> {
  // any object's properties may be read by name, and are unknown
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** A span's identity as it was stored. `undefined` for anything that is not a valid one. Never throws. */
export function wireSpanContext(value: unknown): SpanContext | undefined {
  const { traceId, spanId, traceFlags } = fieldsOf(value);
  if (typeof traceId !== "string" || typeof spanId !== "string") return undefined;
  const flags = wireCount(traceFlags);
  if (flags === undefined || flags > MAX_TRACE_FLAGS) return undefined;
  const span = { traceId, spanId, traceFlags: flags };
  return isSpanContextValid(span) ? span : undefined;
}
