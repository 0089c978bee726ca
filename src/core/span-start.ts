import {
  type Attributes,
  type Context,
  type HrTime,
  isSpanContextValid,
  type Link,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  trace,
} from "@opentelemetry/api";
import { taskAttributes } from "./attributes.js";
import { withTaskBaggage } from "./baggage.js";
import type { TaskOrigin } from "./carrier.js";
import { withoutTask } from "./live-attempt.js";
import type { AttemptRun, AttemptSettings } from "./running-attempt.js";
import {
  ATTR_CODE_FUNCTION_NAME,
  ATTR_TASK_ATTEMPT,
  ATTR_TASK_LINK,
  ATTR_TASK_MAX_ATTEMPTS,
  ATTR_TASK_REDELIVERED,
  ATTR_TASK_WAIT_DURATION,
  LINK_ENQUEUE,
  LINK_PREVIOUS_ATTEMPT,
  LINK_SURROUNDING,
  OPERATION_PROCESS,
  OPERATION_TYPE_PROCESS,
} from "./semconv.js";
import { spanContextIn, type Telemetry } from "./telemetry.js";
import type { TaskRelation } from "./types.js";

/**
 * Returns the context in which an attempt's span starts: under the enqueue span, or in a new trace, outside of the task
 * that enqueued this one, and with the task's tags as baggage where anybody can read that.
 */
export function parentContext(origin: TaskOrigin, telemetry: Telemetry): Context {
  const { relation } = origin;
  const context = withoutTask(origin.context);
  const isIn = relation === "parent" || trace.getSpan(context) === undefined;
  const parent = isIn ? context : trace.deleteSpan(context);
  return telemetry.isHeard() ? withTaskBaggage(parent, origin, telemetry.baggage) : parent;
}

/** Makes the options of an attempt's span. `wait` is in seconds; without a `startTime` the span starts now. */
export function attemptSpanOptions(
  run: AttemptRun,
  settings: AttemptSettings,
  wait: number | undefined,
  startTime: HrTime | undefined,
): SpanOptions {
  const isMessage = settings.route.system !== undefined;
  const attributes = spanAttributes(run, settings, wait);
  const options = { kind: SpanKind.CONSUMER, attributes, links: links(run, isMessage) };
  return startTime === undefined ? options : { ...options, startTime };
}

// The enqueue span of a task that comes from a broker is its message's creation context, and is linked to as such.
function links({ origin, previous, surrounding }: AttemptRun, isMessage: boolean): Link[] {
  const isLinked = origin.relation === "link" || (isMessage && origin.relation === "parent");
  if (!isLinked && previous === undefined && surrounding === undefined) return [];
  const enqueued = spanContextIn(origin.context);
  return [
    ...linkTo(isLinked ? enqueued : undefined, LINK_ENQUEUE),
    ...linkTo(previous, LINK_PREVIOUS_ATTEMPT),
    ...linkTo(isElsewhere(surrounding, origin.relation, enqueued) ? surrounding : undefined, LINK_SURROUNDING),
  ];
}

// A link to the surrounding span says nothing where that is of the attempt's own trace.
function isElsewhere(
  surrounding: SpanContext | undefined,
  relation: TaskRelation,
  enqueued: SpanContext | undefined,
): boolean {
  return relation === "parent" ? surrounding?.traceId !== enqueued?.traceId : surrounding?.spanId !== enqueued?.spanId;
}

function linkTo(context: SpanContext | undefined, kind: string): Link[] {
  if (context === undefined || !isSpanContextValid(context)) return [];
  return [{ context, attributes: { [ATTR_TASK_LINK]: kind } }];
}

function spanAttributes(
  { origin, attempt, redelivered }: AttemptRun,
  { route, functionName }: AttemptSettings,
  wait: number | undefined,
): Attributes {
  const attributes = taskAttributes(origin, route, OPERATION_PROCESS, OPERATION_TYPE_PROCESS);
  attributes[ATTR_TASK_ATTEMPT] = attempt;
  if (origin.maxAttempts !== undefined) attributes[ATTR_TASK_MAX_ATTEMPTS] = origin.maxAttempts;
  if (redelivered) attributes[ATTR_TASK_REDELIVERED] = true;
  if (wait !== undefined) attributes[ATTR_TASK_WAIT_DURATION] = wait;
  if (functionName !== "") attributes[ATTR_CODE_FUNCTION_NAME] = functionName;
  return attributes;
}
