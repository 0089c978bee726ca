import { INVALID_SPAN_CONTEXT, type SpanContext } from "@opentelemetry/api";
import { inject } from "../core/carrier.js";
import type { Carrier } from "../core/types.js";
import { fieldsOf, wireCount, wireSpanContext, wireTime } from "../core/wire.js";
import type { Settlement, TaskMessage } from "./engine.js";

/** The reserved key under which a stored task holds what is not the user's. */
export const ENVELOPE_KEY = "otel-taskflow";

/** What an engine that stores tasks as JSON keeps of one; the carrier's own version says how to read it. */
export interface Envelope {
  readonly args: readonly unknown[];
  readonly carrier: Carrier;
}

/** What such an engine keeps for the attempt after a failed one. */
export interface NextAttempt {
  /** Zero-based. */
  readonly attempt: number;
  /** Epoch milliseconds. */
  readonly dueAt: number;
  /** The span of the failed attempt, where it had one. */
  readonly previous: Pick<SpanContext, "traceId" | "spanId" | "traceFlags"> | undefined;
  /** Runs of it that were lost before it was given back; left out where there were none. */
  readonly lost?: number | undefined;
}

/** The part of a retry that the attempt after it has to know. */
type FailedAttempt = Pick<Extract<Settlement, { outcome: "retry" }>, "delay" | "span">;

/** A task as JSON. */
export function seal({ args, origin }: Pick<TaskMessage, "args" | "origin">): Envelope {
  return { args, carrier: inject(origin) };
}

/** Reads what {@link seal} made, from a value that may be anything: `undefined` where it holds no task. Never throws. */
export function unseal(stored: unknown): Envelope | undefined {
  const { args, carrier } = fieldsOf(stored);
  return Array.isArray(args) ? { args, carrier: fieldsOf(carrier) as Carrier } : undefined;
}

/**
 * What a task is called with, from a value that may be anything: its arguments, or as the only one what another producer
 * stored. `undefined` where a task of ours is damaged. Never throws.
 */
export function argsOf(stored: unknown): readonly unknown[] | undefined {
  const { args, carrier } = fieldsOf(stored);
  if (Array.isArray(args)) return args;
  return ENVELOPE_KEY in fieldsOf(carrier) ? undefined : [stored];
}

/** What the attempt that a failed one leads to has to know. */
export function nextAttempt(failed: number, { delay, span }: FailedAttempt): NextAttempt {
  // whatever a provider calls its spans, the store has to take it
  const { traceId, spanId, traceFlags } = wireSpanContext(span) ?? INVALID_SPAN_CONTEXT;
  return { attempt: failed + 1, dueAt: Date.now() + delay, previous: { traceId, spanId, traceFlags } };
}

/** Reads what {@link nextAttempt} made, from a value that may be anything. Never throws. */
export function readNextAttempt(stored: unknown): NextAttempt | undefined {
  const fields = fieldsOf(stored);
  const attempt = wireCount(fields.attempt);
  const dueAt = wireTime(fields.dueAt);
  if (attempt === undefined || dueAt === undefined) return undefined;
  return { attempt, dueAt, previous: wireSpanContext(fields.previous), lost: wireCount(fields.lost) };
}
