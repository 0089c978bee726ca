import { type Attributes, type HrTime, SpanStatusCode } from "@opentelemetry/api";
import { ATTR_EXCEPTION_MESSAGE, ATTR_EXCEPTION_TYPE, ATTR_TASK_LOG_LEVEL, EVENT_EXCEPTION } from "../core/semconv.js";
import { type Piece, printable, printableValue, type Tone } from "./tree-text.js";

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

interface LinedSpan {
  readonly endTime: HrTime;
  readonly status: { readonly code: SpanStatusCode; readonly message?: string | undefined };
  readonly events: readonly TreeEvent[];
}

const LEVELS: ReadonlyMap<string, Tone> = new Map([
  ["debug", "faint"],
  ["info", "note"],
  ["warn", "warn"],
  ["error", "bad"],
]);

/**
 * What happened during a span, in the order of time: log lines, exceptions, other events; and the
 * status message of a failed span that recorded no exception.
 */
export function linesOf(span: LinedSpan): TreeLine[] {
  const lines = span.events.map((event) => ({ at: epochMs(event.time), pieces: eventPieces(event) }));
  const message = span.status.message;
  const unsaid = span.status.code === SpanStatusCode.ERROR && !span.events.some(({ name }) => name === EVENT_EXCEPTION);
  if (unsaid && message !== undefined && message !== "") {
    lines.push({ at: epochMs(span.endTime), pieces: [["bad", `✗ ${printable(message)}`]] });
  }
  return lines.sort((a, b) => a.at - b.at);
}

function eventPieces({ name, attributes = {} }: TreeEvent): Piece[] {
  const level = attributes[ATTR_TASK_LOG_LEVEL];
  if (name === EVENT_EXCEPTION && level === undefined) {
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

/** An SDK's time as ms since the epoch; 0 for what is no time. */
export function epochMs([seconds, nanos]: HrTime): number {
  const ms = seconds * 1_000 + nanos / 1_000_000;
  return Number.isFinite(ms) ? ms : 0;
}
