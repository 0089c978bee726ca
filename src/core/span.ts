import {
  type Attributes,
  type Context,
  type HrTime,
  INVALID_SPAN_CONTEXT,
  type Span,
  type SpanContext,
  type SpanStatus,
  trace,
} from "@opentelemetry/api";
import { warn } from "./guard.js";

/**
 * A span that this library started and ends. It passes on what it is told to the span of the application's provider,
 * which users and span processors see, and none of its methods throws: what that span throws goes to diag.
 */
export class OwnSpan {
  readonly #span: Span;

  constructor(span: Span) {
    this.#span = span;
  }

  /** Its identity; an invalid one where it is no span, or cannot be read. */
  spanContext(): SpanContext {
    try {
      return this.#span.spanContext();
    } catch (error) {
      failed(error);
      return INVALID_SPAN_CONTEXT;
    }
  }

  isRecording(): boolean {
    try {
      return this.#span.isRecording();
    } catch (error) {
      failed(error);
      return false;
    }
  }

  /** True for the very span of a context that this one wraps. */
  is(span: Span): boolean {
    return span === this.#span;
  }

  /** `around` with this span as its active one; `around` itself where it stands for none. */
  within(around: Context): Context {
    return this === NO_SPAN ? around : trace.setSpan(around, this.#span);
  }

  setAttributes(attributes: Attributes): void {
    try {
      this.#span.setAttributes(attributes);
    } catch (error) {
      failed(error);
    }
  }

  /** Without a time, the event happened now. */
  addEvent(name: string, attributes: Attributes, time?: HrTime): void {
    try {
      this.#span.addEvent(name, attributes, time);
    } catch (error) {
      failed(error);
    }
  }

  setStatus(status: SpanStatus): void {
    try {
      this.#span.setStatus(status);
    } catch (error) {
      failed(error);
    }
  }

  /** Without a time, it ends now. */
  end(time?: HrTime): void {
    try {
      this.#span.end(time);
    } catch (error) {
      failed(error);
    }
  }
}

/** Stands for no span, where no provider is registered and no trace is passed on. */
export const NO_SPAN: OwnSpan = new OwnSpan(trace.wrapSpanContext(INVALID_SPAN_CONTEXT));

function failed(error: unknown): void {
  warn("a span threw", error);
}
