import { type Attributes, type Context, isSpanContextValid, type Span, trace } from "@opentelemetry/api";
import { contextAttributes } from "./attributes.js";
import { activeContext } from "./context.js";
import { addFields, clip, type Fields, keysOf, readField, textOf } from "./fields.js";
import { quietly, safely, warn } from "./guard.js";
import { activeContextIn, attemptIn, currentAttempt, type LiveAttempt } from "./live-attempt.js";
import { emitRecord } from "./record.js";
import { ATTR_TASK_LOG_LEVEL, TASK_PREFIX } from "./semconv.js";
import { Silenced } from "./silenced.js";
import type { OwnSpan } from "./span.js";
import { telemetryOf } from "./telemetry.js";
import type { TaskLogLevel } from "./types.js";

/** Most lines on an attempt's span. SDKs keep 128 events a span and drop the oldest, so this leaves room for others. */
const MAX_EVENTS = 100;
/** Most attributes that are set on it. SDKs keep 128 and drop the last, so this leaves room for how the attempt ends. */
const MAX_SET = 64;
/** The names of those, of each attempt that has some. */
const namesOnSpan = new WeakMap<OwnSpan, Set<string>>();

const NO_FIELDS: Fields = Object.freeze({});

/** Lists the levels in full, so that a compiler names them to whoever gives another. */
interface LogLevelField {
  readonly level?: "debug" | "info" | "warn" | "warning" | "error" | undefined;
}

/** The span that takes a line as its event. */
type EventTaker = Pick<Span | OwnSpan, "addEvent">;

/**
 * Writes a line of the running task as an event on the active recording span; the manager's options `logs` and `onLog`
 * also make it an OpenTelemetry log record, and hand it to a callback. `level` defaults to `info`; field values of any
 * kind are made safe. Outside a task, and after its attempt has ended, the line is an event on the active recording
 * span, and where there is none a log record of the registered logger provider. Never throws, and does nothing where
 * nothing listens.
 */
export function taskLog<F extends object & LogLevelField>(message: string, fields?: F): void {
  try {
    write(typeof message === "string" ? message : textOf(message), recordOf(fields));
  } catch (error) {
    warn("taskLog failed", error);
  }
}

/**
 * Tells an event of the running task, by a `name` that is a constant of the program: an event on the active recording
 * span, and where the manager's option `logs` asks for records, a log record of this event name. `attributes` are made
 * safe as the fields of {@link taskLog} are. Outside a task, and after its attempt has ended, it goes the way of a line.
 * Never throws.
 *
 * @see https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-eventname
 */
export function taskEvent(name: string, attributes?: Attributes): void {
  try {
    const known = clip(textOf(name));
    write(known, recordOf(attributes), known);
  } catch (error) {
    warn("taskEvent failed", error);
  }
}

/**
 * Sets attributes on the span of the running attempt, whatever span is active. Their values are made safe as the fields
 * of {@link taskLog} are; names that begin with `task.` are this library's own and are left out, and so are those after
 * the first 64 of an attempt. Outside a task, and after the attempt has ended, it does nothing. Never throws.
 */
export function setTaskAttributes(attributes: Attributes): void {
  safely("setTaskAttributes", () => {
    const attempt = currentAttempt();
    if (attempt === undefined || attempt.ended) return;
    const { span } = attempt;
    const names = namesOnSpan.get(span) ?? new Set();
    namesOnSpan.set(span, names);
    const made: Attributes = {};
    addFields(made, recordOf(attributes), "");
    for (const key of Object.keys(made)) {
      if (key.startsWith(TASK_PREFIX) || (names.size === MAX_SET && !names.has(key))) delete made[key];
      else names.add(key);
    }
    span.setAttributes(made);
  });
}

/**
 * Returns fields that tie any logger's line to the active span (`trace_id`, `span_id`, `trace_flags`) and to the task
 * it is written in (`task_id`, `task_name`, `task_attempt`, and `task_tags` where it has any); `{}` where nothing is
 * active. The object is new at each call, and the caller may change it. Never throws.
 */
export function taskLogFields(): Record<string, unknown> {
  return safely("taskLogFields", () => correlationFields(activeContext()), {});
}

// Fields may be anything: an error or a list is kept as one value.
function recordOf(fields: unknown): Fields {
  if (fields === undefined || fields === null) return NO_FIELDS;
  try {
    if (typeof fields !== "object" || Array.isArray(fields)) return { value: fields };
    // any other object is a record of its own properties
    return fields instanceof Error ? { error: fields } : (fields as Fields);
  } catch {
    // a proxy that cannot be looked at is a record without keys
    return fields as Fields;
  }
}

// A line has a message and a level, an event has a name. Where no attempt runs and no span takes it, it is a record.
function write(message: string, fields: Fields, eventName?: string): void {
  const active = activeContext();
  const attempt = attemptIn(active);
  const span = eventSpan(active, attempt);
  const { telemetry = telemetryOf({}), task } = attempt ?? {};
  const isHomeless = span === undefined && attempt?.ended !== false;
  const asRecord = isHomeless || telemetry.logs !== "event";
  const isLine = eventName === undefined;
  if (span !== undefined || asRecord) {
    // the level goes first, because SDKs keep a limited number of attributes and drop the last ones
    const attributes: Attributes = isLine ? { [ATTR_TASK_LOG_LEVEL]: levelOf(fields) } : {};
    if (fields !== NO_FIELDS) addFields(attributes, fields, message);
    if (span !== undefined) addEvent(span, message, attributes);
    if (asRecord) {
      const context = activeContextIn(attempt, active);
      const [body, level] = isLine ? [clip(message), levelOf(fields)] : ([undefined, "info"] as const);
      emitRecord({ telemetry, context, task: task && contextAttributes(task), eventName, body, level, attributes });
    }
  }
  if (isLine && attempt?.telemetry.onLog !== undefined) callOnLog(message, fields, attempt, active);
}

// A line goes to the user's own span where one is active and records, and to the attempt's span otherwise.
function eventSpan(active: Context, attempt: LiveAttempt | undefined): EventTaker | undefined {
  try {
    if (attempt?.telemetry.logs === "record") return undefined;
    const span = trace.getSpan(active);
    if (span !== undefined && attempt?.span.is(span) !== true && span.isRecording()) return span;
    if (attempt === undefined || attempt.ended) return undefined;
    return attempt.span.isRecording() && attempt.takeLine(MAX_EVENTS) ? attempt.span : undefined;
  } catch (error) {
    warn("finding the active span failed", error);
    return undefined;
  }
}

function addEvent(span: EventTaker, message: string, attributes: Attributes): void {
  try {
    span.addEvent(clip(message), attributes);
  } catch (error) {
    warn("a span threw", error);
  }
}

function levelOf(fields: Fields): TaskLogLevel {
  const level = readField(fields, "level");
  if (level === "warning") return "warn";
  return level === "debug" || level === "warn" || level === "error" ? level : "info";
}

// Lines that onLog writes itself, now or later, do not reach it again.
function callOnLog(message: string, fields: Fields, attempt: LiveAttempt, active: Context): void {
  const own = keysOf(fields).filter((key) => key !== "level");
  const copy = Object.fromEntries(own.map((key) => [key, readField(fields, key)]));
  const line = { level: levelOf(fields), message, fields: copy, context: attempt.task };
  const silenced = new Silenced(attempt, active);
  // TypeScript lets an async function pass for one that returns void, so its rejection is caught too
  silenced.run(() => void quietly("onLog", () => attempt.telemetry.onLog?.(line)));
  silenced.close();
}

function correlationFields(active: Context): Record<string, unknown> {
  const attempt = attemptIn(active);
  const spanContext = trace.getSpanContext(activeContextIn(attempt, active));
  const fields: Record<string, unknown> = {};
  if (spanContext !== undefined && isSpanContextValid(spanContext)) {
    fields.trace_id = spanContext.traceId;
    fields.span_id = spanContext.spanId;
    fields.trace_flags = spanContext.traceFlags.toString(16).padStart(2, "0");
  }
  if (attempt !== undefined) {
    fields.task_id = attempt.task.taskId;
    fields.task_name = attempt.task.funcName;
    fields.task_attempt = attempt.task.attempt;
    // loggers that redact write to what they are given, so they get a copy
    const tags = { ...attempt.task.tags };
    if (Object.keys(tags).length > 0) fields.task_tags = tags;
  }
  return fields;
}
