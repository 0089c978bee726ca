import type { AttributeValue, Context } from "@opentelemetry/api";
import { activeContext } from "../core/context.js";
import { labelWithTask } from "./label-with-task.js";

/** The part of an SDK's log record that is used. */
export interface TaskLogRecordTarget {
  readonly attributes: Readonly<Record<string, unknown>>;
  setAttribute(key: string, value?: AttributeValue): unknown;
}

/**
 * A log record processor that puts `task.id`, `task.name`, `task.attempt` and the tags of the running task on every
 * record emitted inside it, of every logger. Attributes that a record has already win, and a record that speaks of
 * another task by its `task.id` is left alone. Register it before the processors that export. Never throws.
 *
 * The tags, cut at 256 characters each, reach every backend of your logs: put nothing secret or personal in a tag.
 *
 * @see https://opentelemetry.io/docs/specs/otel/logs/sdk/#logrecordprocessor
 */
export class TaskLogRecordProcessor {
  onEmit(record: TaskLogRecordTarget, emitContext: Context = activeContext()): void {
    labelWithTask(record, emitContext);
  }

  async forceFlush(): Promise<void> {}

  async shutdown(): Promise<void> {}
}
