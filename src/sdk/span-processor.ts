import type { Attributes, AttributeValue, Context } from "@opentelemetry/api";
import { labelWithTask } from "./label-with-task.js";

/** The part of an SDK's span that is used. */
export interface TaskSpan {
  readonly attributes: Attributes;
  setAttribute(key: string, value: AttributeValue): unknown;
}

/**
 * A span processor that puts `task.id`, `task.name`, `task.attempt` and the tags of the running task on every span
 * started inside it: those of HTTP clients, of databases, your own. Attributes that a span was started with win, and a
 * span that speaks of another task by its `task.id` is left alone. Register it beside the processors that export. Never
 * throws.
 *
 * The tags, cut at 256 characters each, reach every backend of your traces: put nothing secret or personal in a tag.
 *
 * @see https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-processor
 */
export class TaskSpanProcessor {
  onStart(span: TaskSpan, parentContext: Context): void {
    labelWithTask(span, parentContext);
  }

  onEnd(): void {}

  async forceFlush(): Promise<void> {}

  async shutdown(): Promise<void> {}
}
