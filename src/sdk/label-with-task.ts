import type { AttributeValue, Context } from "@opentelemetry/api";
import { contextAttributes } from "../core/attributes.js";
import { warn } from "../core/guard.js";
import { attemptIn } from "../core/live-attempt.js";
import { ATTR_TASK_ID, ATTR_TASK_NAME } from "../core/semconv.js";

/** A span or a log record of an SDK. */
interface Labelled {
  readonly attributes: Readonly<Record<string, unknown>>;
  setAttribute(key: string, value: AttributeValue): unknown;
}

/** Adds the attributes of a context's task to a target that does not speak of a task already. Never throws. */
export function labelWithTask(target: Labelled, inContext: Context): void {
  try {
    label(target, inContext);
  } catch (error) {
    warn("labelling with the task threw", error);
  }
}

function label(target: Labelled, inContext: Context): void {
  const attempt = attemptIn(inContext);
  if (attempt === undefined || speaksOfAnother(target.attributes, attempt.task.taskId)) return;
  const labels = contextAttributes(attempt.task);
  for (const key in labels) {
    const value = labels[key];
    if (value !== undefined && target.attributes[key] === undefined) target.setAttribute(key, value);
  }
}

// An enqueue span speaks of the task that it hands over, by its name as well. Baggage may have brought the id alone.
function speaksOfAnother(attributes: Labelled["attributes"], taskId: string): boolean {
  const id = attributes[ATTR_TASK_ID];
  return id !== undefined && (id !== taskId || attributes[ATTR_TASK_NAME] !== undefined);
}
