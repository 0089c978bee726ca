import {
  context,
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { suppressTracing } from "@opentelemetry/core";
import { expect, onTestFinished, test } from "vitest";
import { Recorder } from "../../src/testing/recorder.js";
import { recordSpans, stopTelemetry, useContextManager } from "../support/telemetry.js";

function withContextManager(): void {
  useContextManager();
  onTestFinished(stopTelemetry);
}

test("a recorded span keeps what an SDK's span keeps", () => {
  const recorder = new Recorder();
  const sdk = recordSpans();
  const linked = { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: TraceFlags.SAMPLED };
  for (const { tracerProvider } of [recorder, { tracerProvider: sdk.provider }]) {
    const options = { kind: SpanKind.CONSUMER, attributes: { a: 1 }, startTime: new Date(5_000) };
    const span = tracerProvider.getTracer("test").startSpan("first", options, ROOT_CONTEXT);
    span.setAttribute("b", "two").setAttributes({ a: 3 }).updateName("named");
    span.addEvent("event", { c: true }, [6, 500_000_000]).addEvent("bare", new Date(7_000));
    span.addLink({ context: linked, attributes: { d: 4 } });
    span.recordException(new RangeError("no"));
    span.setStatus({ code: SpanStatusCode.ERROR, message: "failed" }).end(new Date(9_000));
    span.setAttribute("late", 1).addEvent("late").addLink({ context: linked }).updateName("late").end();
  }
  const [ours, theirs] = [recorder.span("named"), sdk.span("named")];
  expect([ours.kind, ours.attributes, ours.status]).toEqual([theirs.kind, theirs.attributes, theirs.status]);
  expect(ours.links).toMatchObject(
    theirs.links.map((link) => ({ context: link.context, attributes: link.attributes })),
  );
  expect([ours.startTime, ours.endTime]).toEqual([5_000, 9_000]);
  expect(ours.events.map(({ name }) => name)).toEqual(theirs.events.map(({ name }) => name));
  expect(ours.events.slice(0, 2).map(({ time }) => time)).toEqual([6_500, 7_000]);
  expect(ours.events[2]?.attributes).toMatchObject({ "exception.type": "RangeError", "exception.message": "no" });
});

test("ids are valid and new, and a child belongs to its parent's trace", () => {
  withContextManager();
  const recorder = new Recorder();
  const tracer = recorder.tracerProvider.getTracer("test");
  tracer.startActiveSpan("parent", (parent) => {
    tracer.startSpan("child").end();
    tracer.startSpan("other root", { root: true }).end();
    parent.end();
  });
  const [child, other, parent] = recorder.spans();
  const contexts = [child, other, parent].map((span) => span?.spanContext());
  expect(contexts.every((one) => one !== undefined && isSpanContextValid(one) && one.traceFlags === 1)).toBe(true);
  expect(child?.parentSpanContext).toEqual(parent?.spanContext());
  expect(child?.spanContext().traceId).toBe(parent?.spanContext().traceId);
  expect(other?.parentSpanContext).toBeUndefined();
  expect(new Set(contexts.map((one) => one?.spanId)).size).toBe(3);
});

test("no span is recorded where tracing is suppressed, and the trace goes on", () => {
  withContextManager();
  const recorder = new Recorder();
  const tracer = recorder.tracerProvider.getTracer("test");
  const parent = tracer.startSpan("parent");
  const suppressed = suppressTracing(trace.setSpan(context.active(), parent));
  const span = tracer.startSpan("suppressed", {}, suppressed);
  span.end();
  expect([span.isRecording(), span.spanContext()]).toEqual([false, parent.spanContext()]);
  expect(recorder.spans()).toEqual([]);
});

test("totals are summed by their attributes, in whatever order these stand", () => {
  const recorder = new Recorder();
  const meter = recorder.meterProvider.getMeter("test");
  const [counter, histogram] = [meter.createCounter("tasks"), meter.createHistogram("waits")];
  counter.add(1, { name: "a", outcome: "success" });
  counter.add(2, { outcome: "success", name: "a" });
  counter.add(1, { name: "b" });
  histogram.record(0.5);
  meter.createObservableGauge("depth").addCallback(() => expect.unreachable());
  expect(recorder.totals("tasks")).toEqual([
    { value: 3, attributes: { name: "a", outcome: "success" } },
    { value: 1, attributes: { name: "b" } },
  ]);
  expect(recorder.totals("waits")).toEqual([{ value: 0.5, attributes: {} }]);
});

test("the one span of a name is told from none and from several", () => {
  const recorder = new Recorder();
  const tracer = recorder.tracerProvider.getTracer("test");
  for (const name of ["once", "twice", "twice"]) tracer.startSpan(name).end();
  expect(recorder.span("once").name).toBe("once");
  for (const name of ["twice", "never"]) {
    expect(() => recorder.span(name)).toThrow(`expected one span named "${name}", got ["once","twice","twice"]`);
  }
});
