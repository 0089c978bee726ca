import {
  type Attributes,
  type HrTime,
  type Link,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
} from "@opentelemetry/api";
import {
  ATTR_ERROR_TYPE,
  ATTR_EXCEPTION_MESSAGE,
  ATTR_EXCEPTION_TYPE,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_STATUS_CODE,
  ATTR_TASK_ATTEMPT,
  ATTR_TASK_ENGINE,
  ATTR_TASK_ID,
  ATTR_TASK_LINK,
  ATTR_TASK_LOG_DROPPED,
  ATTR_TASK_LOG_LEVEL,
  ATTR_TASK_MAX_ATTEMPTS,
  ATTR_TASK_NAME,
  ATTR_TASK_OUTCOME,
  ATTR_TASK_REDELIVERED,
  ATTR_TASK_RETRY_DELAY,
  ATTR_TASK_WAIT_DURATION,
  EVENT_EXCEPTION,
  OPERATION_ENQUEUE,
  TASK_TAG_PREFIX,
} from "../../core/semconv.js";
import { formatDuration, type Piece, printable, printableValue, type Tone } from "./text.js";

/** An event of an SDK's span. */
export interface TreeEvent {
  readonly name: string;
  readonly time: HrTime;
  readonly attributes?: Attributes | undefined;
}

/** An event as it is printed, `at` in ms since the epoch. */
export interface TreeLine {
  readonly at: number;
  readonly pieces: readonly Piece[];
}

/** The part of an SDK's ended span that is read; satisfied by SDK 1, 2 and 3. */
export interface TreeReadableSpan {
  readonly name: string;
  readonly kind: SpanKind;
  readonly spanContext: () => SpanContext;
  /** SDK 2 and later. */
  readonly parentSpanContext?: SpanContext | undefined;
  /** SDK 1. */
  readonly parentSpanId?: string | undefined;
  readonly startTime: HrTime;
  readonly endTime: HrTime;
  readonly status: { readonly code: SpanStatusCode; readonly message?: string | undefined };
  readonly attributes: Attributes;
  readonly links: readonly Link[];
  readonly events: readonly TreeEvent[];
}

/** A span reduced to what the tree prints; every text in it is harmless. Times in ms, `start` since the epoch. */
export interface TreeSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  /** True where the parent runs in this process, so that its span will follow. */
  readonly parentIsLocal: boolean;
  readonly name: string;
  readonly start: number;
  readonly duration: number;
  /** Time from due to start, drawn before the bar. */
  readonly wait: number;
  /** Time to the next attempt, drawn after the bar. */
  readonly retryDelay: number;
  readonly tone: Tone;
  /** Stands beside the duration: attempt and outcome, or what went wrong. */
  readonly status: readonly Piece[];
  /** Stands beneath the span, where the span above it has not said the same. */
  readonly tags: string;
  /** Stand beneath the span, on one line with the tags. */
  readonly facts: readonly string[];
  /** The links that leave the trace, a line each. */
  readonly links: readonly string[];
  /** Lines in the order of their time. */
  readonly lines: readonly TreeLine[];
  /** The task of an enqueue or attempt span, and its state after it. */
  readonly task: { readonly id: string; readonly is: TaskState } | undefined;
}

/** `queued` will start in this process, `sent` will start somewhere, `waiting` waits for its retry. */
type TaskState = "queued" | "sent" | "waiting" | "over";

const LINKS_SHOWN = 4;
/**
 * Milliseconds from which a wait is told in words. Shorter ones are everyday scheduling, which the bar may still show.
 */
const WAIT_SHOWN = 10;
const OUTCOMES: ReadonlyMap<string, readonly [Tone, string]> = new Map([
  ["success", ["good", "✓"]],
  ["retry", ["warn", "↻"]],
  ["failure", ["bad", "✗"]],
  ["error", ["bad", "✗"]],
  ["cancelled", ["note", "⊘"]],
  ["deferred", ["note", "→"]],
]);

const LEVELS: ReadonlyMap<string, Tone> = new Map([
  ["debug", "faint"],
  ["info", "note"],
  ["warn", "warn"],
  ["error", "bad"],
]);

/** Reads an SDK's span once, at export, so that nothing of it is kept. May throw what the span throws. */
export function readSpan(span: TreeReadableSpan): TreeSpan {
  const { traceId, spanId } = span.spanContext();
  const { attributes } = span;
  const isAttempt = typeof attributes[ATTR_TASK_OUTCOME] === "string";
  const isEnqueue =
    span.kind === SpanKind.PRODUCER && span.name === `${OPERATION_ENQUEUE} ${attributes[ATTR_TASK_NAME]}`;
  const [tone, status] = isAttempt ? attemptStatus(attributes) : plainStatus(span);
  return {
    traceId: printable(traceId),
    spanId,
    parentId: span.parentSpanContext?.spanId ?? span.parentSpanId,
    parentIsLocal: span.parentSpanContext !== undefined && span.parentSpanContext.isRemote !== true,
    name: printable(span.name),
    start: epochMs(span.startTime),
    duration: between(span.startTime, span.endTime),
    wait: isAttempt ? secondsAsMs(attributes[ATTR_TASK_WAIT_DURATION]) : 0,
    retryDelay: isAttempt ? secondsAsMs(attributes[ATTR_TASK_RETRY_DELAY]) : 0,
    tone,
    status,
    tags: isAttempt || isEnqueue ? tagsOf(attributes) : "",
    facts: isAttempt ? attemptFacts(attributes) : [],
    links: linksOf(span),
    lines: linesOf(span),
    task: isAttempt || isEnqueue ? taskOf(span, isAttempt) : undefined,
  };
}

function taskOf(span: TreeReadableSpan, isAttempt: boolean): TreeSpan["task"] {
  const id = span.attributes[ATTR_TASK_ID];
  if (typeof id !== "string") return undefined;
  if (isAttempt) return { id, is: span.attributes[ATTR_TASK_OUTCOME] === "retry" ? "waiting" : "over" };
  const runsHere = span.attributes[ATTR_TASK_ENGINE] === "memory" && span.status.code !== SpanStatusCode.ERROR;
  return { id, is: runsHere ? "queued" : "sent" };
}

function attemptStatus(attributes: Attributes): [Tone, Piece[]] {
  const outcome = String(attributes[ATTR_TASK_OUTCOME]);
  const [tone, mark] = OUTCOMES.get(outcome) ?? ["note", "?"];
  const attempt = attributes[ATTR_TASK_ATTEMPT];
  const of = attributes[ATTR_TASK_MAX_ATTEMPTS];
  const count = typeof attempt === "number" ? `attempt ${attempt}${typeof of === "number" ? ` of ${of}` : ""} ` : "";
  const delay = attributes[ATTR_TASK_RETRY_DELAY];
  const when = typeof delay !== "number" ? "" : delay > 0 ? ` in ${formatDuration(delay * 1_000)}` : " at once";
  return [
    tone,
    [
      ["plain", count],
      [tone, `${mark} ${printable(outcome)}${when}`],
    ],
  ];
}

function plainStatus({ status, attributes }: TreeReadableSpan): [Tone, Piece[]] {
  if (status.code !== SpanStatusCode.ERROR) return ["span", []];
  const kinds = [ATTR_ERROR_TYPE, ATTR_HTTP_RESPONSE_STATUS_CODE, ATTR_HTTP_STATUS_CODE].map((key) => attributes[key]);
  const kind = kinds.find((value) => value !== undefined) ?? "error";
  return ["bad", [["bad", `✗ ${printable(String(kind))}`]]];
}

function tagsOf(attributes: Attributes): string {
  const tags = Object.entries(attributes)
    .filter(([key]) => key.startsWith(TASK_TAG_PREFIX))
    .map(([key, value]) => `${printable(key.slice(TASK_TAG_PREFIX.length))}=${printableValue(value)}`);
  return printable(tags.join(" "));
}

function attemptFacts(attributes: Attributes): string[] {
  const wait = secondsAsMs(attributes[ATTR_TASK_WAIT_DURATION]);
  const dropped = attributes[ATTR_TASK_LOG_DROPPED];
  const facts: string[] = [];
  if (wait >= WAIT_SHOWN) facts.push(`waited ${formatDuration(wait)}`);
  if (attributes[ATTR_TASK_REDELIVERED] === true) facts.push("redelivered");
  if (typeof dropped === "number" && dropped > 0) {
    facts.push(`${dropped} more log line${dropped === 1 ? "" : "s"} left out`);
  }
  return facts;
}

// Only links that leave the trace are told, because inside it the tree shows the same.
function linksOf(span: TreeReadableSpan): string[] {
  const { traceId } = span.spanContext();
  const away = span.links.filter(({ context }) => context.traceId !== traceId);
  const links = away.slice(0, LINKS_SHOWN).map(({ context, attributes }) => {
    const what = String(attributes?.[ATTR_TASK_LINK] ?? "").replaceAll("_", " ");
    return `linked to ${printable(what === "" ? "" : `${what}: `)}${printable(`trace ${context.traceId} span ${context.spanId}`)}`;
  });
  return away.length > LINKS_SHOWN ? [...links, `and ${away.length - LINKS_SHOWN} more links`] : links;
}

// Log lines, exceptions and other events in the order of time; and the status message of a failed span that recorded no
// exception.
function linesOf(span: TreeReadableSpan): TreeLine[] {
  const lines = span.events.map((event) => ({ at: epochMs(event.time), pieces: eventPieces(event) }));
  const message = span.status.message;
  const unsaid = span.status.code === SpanStatusCode.ERROR && !span.events.some(isException);
  if (unsaid && message !== undefined && message !== "") {
    lines.push({ at: epochMs(span.endTime), pieces: [["bad", `✗ ${printable(message)}`]] });
  }
  return lines.sort((a, b) => a.at - b.at);
}

function eventPieces(event: TreeEvent): Piece[] {
  const { name, attributes = {} } = event;
  const level = attributes[ATTR_TASK_LOG_LEVEL];
  if (isException(event)) {
    const type = printable(String(attributes[ATTR_EXCEPTION_TYPE] ?? "Error"));
    const message = attributes[ATTR_EXCEPTION_MESSAGE];
    return [["bad", message === undefined ? `✗ ${type}` : `✗ ${type}: ${printable(String(message))}`]];
  }
  const fields = Object.entries(attributes)
    .filter(([key]) => key !== ATTR_TASK_LOG_LEVEL)
    .map(([key, value]) => ` ${printable(key)}=${printableValue(value)}`);
  return [
    [LEVELS.get(String(level)) ?? "note", level === undefined ? "" : `${printable(String(level)).padEnd(5)} `],
    ["plain", printable(name)],
    ["faint", printable(fields.join(""))],
  ];
}

// One that was told by a log record, and bridged to the span, has that record's name. A task's log line is none.
function isException({ name, attributes = {} }: TreeEvent): boolean {
  if (attributes[ATTR_TASK_LOG_LEVEL] !== undefined) return false;
  return name === EVENT_EXCEPTION || attributes[ATTR_EXCEPTION_TYPE] !== undefined;
}

// Tells an SDK's time as ms since the epoch; 0 for what is no time.
function epochMs([seconds, nanos]: HrTime): number {
  const ms = seconds * 1_000 + nanos / 1_000_000;
  return Number.isFinite(ms) ? ms : 0;
}

function between(start: HrTime, stop: HrTime): number {
  const ms = (stop[0] - start[0]) * 1_000 + (stop[1] - start[1]) / 1_000_000;
  return ms > 0 && Number.isFinite(ms) ? ms : 0;
}

function secondsAsMs(value: unknown): number {
  return typeof value === "number" && value > 0 && Number.isFinite(value) ? value * 1_000 : 0;
}
