import { type Attributes, type HrTime, SpanStatusCode } from "@opentelemetry/api";
import { contextAttributes, type TaskRoute } from "./attributes.js";
import { withForeignBaggage } from "./baggage.js";
import { activeContext } from "./context.js";
import { describeException, type ExceptionText } from "./exception.js";
import type { LiveAttempt } from "./live-attempt.js";
import { emitRecord } from "./record.js";
import {
  ATTR_ERROR_TYPE,
  ATTR_EXCEPTION_MESSAGE,
  ATTR_EXCEPTION_STACKTRACE,
  ATTR_EXCEPTION_TYPE,
  ATTR_TASK_LOG_DROPPED,
  ATTR_TASK_OUTCOME,
  ATTR_TASK_RETRY_DELAY,
  EVENT_CONTINUE_EXCEPTION,
  EVENT_EXCEPTION,
  EVENT_MESSAGING_PROCESS_EXCEPTION,
  EVENT_PROCESS_EXCEPTION,
} from "./semconv.js";
import type { OwnSpan } from "./span.js";
import type { SpanClock } from "./span-clock.js";
import type { Telemetry } from "./telemetry.js";
import type { TaskContext, TaskOutcome } from "./types.js";

/**
 * The end of an attempt, or of a part of one that ran elsewhere. `delay` is the wait before the next attempt in
 * milliseconds, where it is known.
 */
export type AttemptEnd<T> =
  | { readonly outcome: "success"; readonly value: T }
  | { readonly outcome: Exclude<TaskOutcome, "success">; readonly error: unknown; readonly delay?: number | undefined };

/** Tells a hook of an end, inside the task's context. Resolves when the hook has returned; never rejects. */
export type Notify = (end: AttemptEnd<unknown>, task: TaskContext) => Promise<void>;

/** An attempt that is over, with what its span and its measures still have to say. */
export interface EndedAttempt extends LiveAttempt {
  readonly settings: { readonly route: TaskRoute };
  /** The moment it settled, on performance.now()'s axis; hooks ran after that. NaN where nobody measures. */
  readonly endedAt: number;
  /** Gives that moment for the span; `undefined` where the span ends now. */
  readonly clock: SpanClock | undefined;
}

/** A failure that a span, and a log record where one is asked for, will tell. */
export interface Failure {
  readonly exception: ExceptionText;
  /** The name of the log record. */
  readonly eventName: string;
  readonly level: "warn" | "error";
  readonly telemetry: Telemetry;
  /** Makes the log record's attributes of the task; called only where there is a log record. */
  readonly task: () => Attributes;
}

/** Ends a span that is no attempt's; with a `failure`, the span tells that it failed. */
export function finishSpan(span: OwnSpan, failure?: Failure): void {
  if (failure !== undefined) tell(span, failure);
  span.end();
}

/** Ends the span of the part of an attempt that ran elsewhere. */
export function finishContinued(attempt: LiveAttempt, end: AttemptEnd<unknown>): void {
  const { span, dropped } = attempt;
  if (dropped > 0) span.setAttributes({ [ATTR_TASK_LOG_DROPPED]: dropped });
  attempt.markEnded();
  if (end.outcome === "success") finishSpan(span);
  else finishSpan(span, failureOf(attempt, end.error, EVENT_CONTINUE_EXCEPTION, "error"));
}

/** Ends an attempt's span and its measures. It is called once an attempt. */
export function finishAttempt(attempt: EndedAttempt, end: AttemptEnd<unknown>): void {
  const { outcome } = end;
  const { span, dropped, endedAt, clock } = attempt;
  const endTime = clock?.at(endedAt);
  const attributes: Attributes = { [ATTR_TASK_OUTCOME]: outcome };
  if (dropped > 0) attributes[ATTR_TASK_LOG_DROPPED] = dropped;
  if (outcome === "retry" && end.delay !== undefined) attributes[ATTR_TASK_RETRY_DELAY] = end.delay / 1000;
  span.setAttributes(attributes);
  let failure: Failure | undefined;
  if (outcome === "retry" || outcome === "failure" || outcome === "error") {
    const ofBroker = attempt.settings.route.system !== undefined;
    const eventName = ofBroker ? EVENT_MESSAGING_PROCESS_EXCEPTION : EVENT_PROCESS_EXCEPTION;
    failure = failureOf(attempt, end.error, eventName, outcome === "retry" ? "warn" : "error");
    tell(span, failure, endTime);
  }
  attempt.measures?.end(outcome, failure?.exception.type, endedAt);
  attempt.markEnded();
  span.end(endTime);
}

function failureOf(
  { telemetry, task }: LiveAttempt,
  error: unknown,
  eventName: string,
  level: Failure["level"],
): Failure {
  return { exception: describeException(error), eventName, level, telemetry, task: () => contextAttributes(task) };
}

/** @see https://opentelemetry.io/docs/specs/semconv/exceptions/ */
function tell(span: OwnSpan, failure: Failure, time?: HrTime): void {
  const { exception, eventName, level, telemetry, task } = failure;
  span.setStatus({ code: SpanStatusCode.ERROR, message: exception.message });
  span.setAttributes({ [ATTR_ERROR_TYPE]: exception.type });
  const attributes: Attributes = { [ATTR_EXCEPTION_TYPE]: exception.type, [ATTR_EXCEPTION_MESSAGE]: exception.message };
  if (exception.stack !== undefined) attributes[ATTR_EXCEPTION_STACKTRACE] = exception.stack;
  // recordException prefers `code` over the error's name and drops what is no Error, so it is not used
  const signals = (process.env.OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN ?? "").toLowerCase().split(/[\s,]+/);
  const both = signals.includes("logs/dup");
  const log = signals.includes("logs");
  if (both || !log) span.addEvent(EVENT_EXCEPTION, attributes, time);
  if (!both && !log) return;
  // its attributes say all that baggage may say of this task, and nothing that it may say of another
  const context = span.within(withForeignBaggage(activeContext()));
  emitRecord({ telemetry, context, task: task(), eventName, body: exception.message, level, attributes, time });
}
