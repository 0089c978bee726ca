import { type Attributes, context, trace } from "@opentelemetry/api";
import { contextAttributes } from "./attributes.js";
import type { ActiveAttempt } from "./context.js";
import type { TaskLogLevel, TaskLogRecord } from "./types.js";

/** @see https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber */
const SEVERITY: Record<TaskLogLevel, number> = { debug: 5, info: 9, warn: 13, error: 17 };

/** What one log record of a task says. */
export interface RecordContent {
  readonly eventName?: string;
  readonly body: string;
  readonly level: TaskLogLevel;
  readonly attributes: Attributes;
}

/** Emits an OpenTelemetry log record on the active span, with its task's id, name, attempt and tags. */
export function emitRecord(attempt: ActiveAttempt, { eventName, body, level, attributes }: RecordContent): void {
  const active = context.active();
  attempt.telemetry.emit({
    ...(eventName !== undefined && { eventName }),
    body,
    severityNumber: SEVERITY[level],
    severityText: level.toUpperCase(),
    // made by toAttribute: primitives and arrays of them
    attributes: { ...attributes, ...contextAttributes(attempt.context) } as TaskLogRecord["attributes"],
    context: trace.getSpan(active) === undefined ? trace.setSpan(active, attempt.span) : active,
  });
}
