import {
  type Attributes,
  type Context,
  type HrTime,
  isSpanContextValid,
  type SpanContext,
  trace,
} from "@opentelemetry/api";
import { activeContext } from "../core/context.js";
import { safely } from "../core/guard.js";

/** The part of an SDK's log record that is used. */
export interface BridgedLogRecord {
  readonly eventName?: string | undefined;
  readonly spanContext?: SpanContext | undefined;
  readonly hrTime: HrTime;
  readonly hrTimeObserved: HrTime;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/**
 * A log record processor that puts each event, a log record with an event name, on the current span as a span event: the
 * same name, time and attributes. The span has to be recording, and to be the one that the record was emitted in. The
 * record itself goes on as it is. It is for telemetry that tells events by log records alone, with `logs: "record"` and
 * `OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN=logs`: with `"both"` and `logs/dup` the span would tell the same thing twice.
 * Never throws.
 *
 * @see https://opentelemetry.io/docs/specs/otel/logs/sdk/#event-to-span-event-bridge
 */
export class SpanEventBridge {
  onEmit(record: BridgedLogRecord, emitContext: Context = activeContext()): void {
    safely("bridging an event", () => bridge(record, emitContext));
  }

  async forceFlush(): Promise<void> {}

  async shutdown(): Promise<void> {}
}

function bridge(
  { eventName, spanContext, hrTime, hrTimeObserved, attributes }: BridgedLogRecord,
  within: Context,
): void {
  if (!eventName || spanContext === undefined || !isSpanContextValid(spanContext)) return;
  const span = trace.getSpan(within);
  if (span?.isRecording() !== true) return;
  const { traceId, spanId } = span.spanContext();
  if (traceId !== spanContext.traceId || spanId !== spanContext.spanId) return;
  // what is no attribute of a span, such as a map, is left out by the span itself
  span.addEvent(eventName, attributes as Attributes, isSet(hrTime) ? hrTime : hrTimeObserved);
}

function isSet([seconds, nanos]: HrTime): boolean {
  return seconds > 0 || nanos > 0;
}
