import { context, createContextKey, propagation, ROOT_CONTEXT, TraceFlags, trace } from "@opentelemetry/api";

const PROBE = createContextKey("otel-taskflow engine contract");
const SPAN_CONTEXT = { traceId: "1".repeat(32), spanId: "1".repeat(16), traceFlags: TraceFlags.SAMPLED };

/** Fails with what is to be done where the contract would miss something that only an application can register. */
export function checkRegistered(): void {
  const within = ROOT_CONTEXT.setValue(PROBE, true);
  if (context.with(within, () => context.active().getValue(PROBE)) !== true) {
    throw missing("context manager", "context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())");
  }
  const baggage = propagation.createBaggage({ probe: { value: "1" } });
  const carrier: Record<string, unknown> = {};
  propagation.inject(propagation.setBaggage(trace.setSpanContext(within, SPAN_CONTEXT), baggage), carrier);
  if (carrier.traceparent === undefined || carrier.baggage === undefined) {
    throw missing(
      "W3C propagators for trace context and baggage",
      "propagation.setGlobalPropagator(new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), " +
        "new W3CBaggagePropagator()] }))",
    );
  }
}

function missing(what: string, remedy: string): Error {
  return new Error(`the engine contract needs OpenTelemetry's ${what}; before the cases run, call ${remedy}`);
}
