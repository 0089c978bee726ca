import type { Attributes, Context } from "@opentelemetry/api";
import { contextAttributes } from "./attributes.js";
import { activeContextIn, type LiveAttempt } from "./live-attempt.js";
import type { Telemetry } from "./telemetry.js";
import type { TaskLogLevel, TaskLogRecord } from "./types.js";

/** @see https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber */
const SEVERITY: Record<TaskLogLevel, number> = { debug: 5, info: 9, warn: 13, error: 17 };

/** The content of one log record of a task. */
export interface RecordContent {
  readonly eventName?: string;
  readonly body: string;
  readonly level: TaskLogLevel;
  readonly attributes: Attributes;
}

/** The origin of a log record: its telemetry, the context it is emitted in, and the attributes of its task. */
export interface RecordOrigin {
  readonly telemetry: Telemetry;
  readonly context: Context;
  readonly task: Attributes;
}

/** Emits an OpenTelemetry log record on the active span, with its task's id, name, attempt and tags. */
export function emitRecord(attempt: LiveAttempt, content: RecordContent): void {
  const { telemetry, task } = attempt;
  emitRecordFrom({ telemetry, context: activeContextIn(attempt), task: contextAttributes(task) }, content);
}

/** Emits a log record whose span is not the active one, or that is of no running attempt. */
export function emitRecordFrom({ telemetry, context, task }: RecordOrigin, content: RecordContent): void {
  const { eventName, body, level, attributes } = content;
  telemetry.emit({
    ...(eventName !== undefined && { eventName }),
    body,
    severityNumber: SEVERITY[level],
    severityText: level.toUpperCase(),
    // toAttribute made these values, which are primitives and arrays of them
    attributes: { ...attributes, ...task } as TaskLogRecord["attributes"],
    context,
  });
}
