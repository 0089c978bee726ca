import type { Attributes, Context, HrTime } from "@opentelemetry/api";
import type { Telemetry } from "./telemetry.js";
import type { TaskLogLevel, TaskLogRecord } from "./types.js";

/** @see https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber */
const SEVERITY: Record<TaskLogLevel, number> = { debug: 5, info: 9, warn: 13, error: 17 };

/** One log record of a task. */
export interface TaskRecord {
  readonly telemetry: Telemetry;
  /** The context it is emitted in. */
  readonly context: Context;
  /** The attributes of its task, which win over its own; `undefined` outside one. */
  readonly task: Attributes | undefined;
  readonly eventName?: string | undefined;
  /** `undefined` where the event's name says all. */
  readonly body: string | undefined;
  readonly level: TaskLogLevel;
  readonly attributes: Attributes;
  /** Without it, what is told happened now. */
  readonly time?: HrTime | undefined;
}

/** Emits an OpenTelemetry log record. */
export function emitRecord(record: TaskRecord): void {
  const { telemetry, context, task, eventName, body, level, attributes, time } = record;
  telemetry.emit({
    ...(eventName !== undefined && { eventName }),
    ...(body !== undefined && { body }),
    ...(time !== undefined && { timestamp: time }),
    severityNumber: SEVERITY[level],
    severityText: level.toUpperCase(),
    // toAttribute made these values, which are primitives and arrays of them
    attributes: { ...attributes, ...task } as TaskLogRecord["attributes"],
    context,
  });
}
