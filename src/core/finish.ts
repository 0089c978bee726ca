import { type Attributes, type Span, SpanStatusCode } from "@opentelemetry/api";
import type { ActiveAttempt } from "./context.js";
import { describeException, type ExceptionText } from "./exception.js";
import { safely } from "./guard.js";
import { emitRecord } from "./record.js";
import {
  ATTR_ERROR_TYPE,
  ATTR_EXCEPTION_MESSAGE,
  ATTR_EXCEPTION_STACKTRACE,
  ATTR_EXCEPTION_TYPE,
  ATTR_TASK_LOG_DROPPED,
  ATTR_TASK_OUTCOME,
  ATTR_TASK_RETRY_DELAY,
  EVENT_EXCEPTION,
  EVENT_TASK_EXCEPTION,
} from "./semconv.js";
import type { TaskOutcome } from "./types.js";

/** How an attempt ended; `delay` is the wait before the next one, in ms, where it is known. */
export type AttemptResult<T> =
  | { readonly outcome: "success"; readonly value: T }
  | { readonly outcome: Exclude<TaskOutcome, "success">; readonly error: unknown; readonly delay?: number | undefined };

/** How the part of an attempt that ran elsewhere ended. */
export type Continued<T> = { readonly value: T } | { readonly error: unknown };

/** Ends a span that is no attempt's; `thrown` holds what it failed with. */
export function finishSpan(span: Span, thrown?: { readonly error: unknown }): void {
  if (thrown !== undefined) {
    safely("finishing a span", () => addFailure(span, describeException(thrown.error), undefined), undefined);
  }
  safely("ending a span", () => span.end(), undefined);
}

/** Ends the span of the part of an attempt that ran elsewhere. */
export function finishContinued(attempt: ActiveAttempt, ended: Continued<unknown>): void {
  const { span, dropped } = attempt;
  if (dropped > 0) safely("finishing a span", () => span.setAttribute(ATTR_TASK_LOG_DROPPED, dropped), undefined);
  attempt.ended = true;
  finishSpan(span, "error" in ended ? ended : undefined);
}

/** Ends an attempt's span and measures, once. `endedAt` is on performance.now()'s axis: hooks ran after it. */
export function finishAttempt(attempt: ActiveAttempt, result: AttemptResult<unknown>, endedAt: number): void {
  if (attempt.ended) return;
  const { outcome } = result;
  const failed = outcome === "retry" || outcome === "failure" || outcome === "error";
  const exception = failed ? describeException(result.error) : undefined;
  safely("finishing an attempt span", () => describe(attempt, result, exception, endedAt), undefined);
  attempt.measures?.end({ outcome, errorType: exception?.type, endedAt });
  attempt.ended = true;
  safely("ending an attempt span", () => attempt.span.end(endedAt), undefined);
}

function describe(
  attempt: ActiveAttempt,
  result: AttemptResult<unknown>,
  exception: ExceptionText | undefined,
  endedAt: number,
): void {
  const attributes: Attributes = { [ATTR_TASK_OUTCOME]: result.outcome };
  if (attempt.dropped > 0) attributes[ATTR_TASK_LOG_DROPPED] = attempt.dropped;
  if (result.outcome === "retry" && result.delay !== undefined) {
    attributes[ATTR_TASK_RETRY_DELAY] = result.delay / 1000;
  }
  attempt.span.setAttributes(attributes);
  if (exception === undefined) return;
  const signal = exceptionSignal();
  addFailure(attempt.span, exception, endedAt, signal.event);
  if (signal.log) emitException(attempt, exception, result.outcome === "retry" ? "warn" : "error");
}

function addFailure(span: Span, exception: ExceptionText, time: number | undefined, event = true): void {
  span.setStatus({ code: SpanStatusCode.ERROR, message: exception.message });
  span.setAttribute(ATTR_ERROR_TYPE, exception.type);
  // not recordException: it prefers `code` over the error's name, and drops what is not an Error
  if (event) span.addEvent(EVENT_EXCEPTION, exceptionAttributes(exception), time);
}

function emitException(attempt: ActiveAttempt, exception: ExceptionText, level: "warn" | "error"): void {
  emitRecord(attempt, {
    eventName: EVENT_TASK_EXCEPTION,
    body: exception.message,
    level,
    attributes: exceptionAttributes(exception),
  });
}

function exceptionAttributes({ type, message, stack }: ExceptionText): Attributes {
  const attributes: Attributes = { [ATTR_EXCEPTION_TYPE]: type, [ATTR_EXCEPTION_MESSAGE]: message };
  if (stack !== undefined) attributes[ATTR_EXCEPTION_STACKTRACE] = stack;
  return attributes;
}

/** @see https://opentelemetry.io/docs/specs/semconv/exceptions/ */
function exceptionSignal(): { event: boolean; log: boolean } {
  const choices = (process.env.OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN ?? "").split(",").map((one) => one.trim());
  const both = choices.includes("logs/dup");
  const log = both || choices.includes("logs");
  return { event: both || !log, log };
}
