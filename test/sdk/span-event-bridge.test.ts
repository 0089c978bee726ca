import { type Context, context, ROOT_CONTEXT, type Span, trace } from "@opentelemetry/api";
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { runAttempt, taskEvent } from "otel-taskflow";
import { SpanEventBridge } from "otel-taskflow/sdk";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { startTelemetry, type TestTelemetry } from "../support/telemetry.js";

let telemetry: TestTelemetry;
beforeEach(() => {
  telemetry = startTelemetry();
});

function startBridge(): { provider: LoggerProvider; exporter: InMemoryLogRecordExporter } {
  const exporter = new InMemoryLogRecordExporter();
  const processors = [new SpanEventBridge(), new SimpleLogRecordProcessor({ exporter })];
  const provider = new LoggerProvider({ processors });
  onTestFinished(() => provider.shutdown());
  return { provider, exporter };
}

function within(span: Span): Context {
  return trace.setSpan(ROOT_CONTEXT, span);
}

describe("an event is put on the current span", () => {
  test("with its name, its time and its attributes, and goes on as a record", () => {
    const { provider, exporter } = startBridge();
    const span = trace.getTracer("test").startSpan("work");
    const attributes = { "order.total": 12, "order.lines": ["a"] };
    const record = { eventName: "order.paid", attributes, timestamp: 1_700_000_000_123, context: within(span) };
    provider.getLogger("test").emit(record);
    span.end();
    expect(telemetry.span("work").events).toMatchObject([
      { name: "order.paid", attributes, time: [1_700_000_000, 123_000_000] },
    ]);
    expect(exporter.getFinishedLogRecords()).toMatchObject([{ eventName: "order.paid", attributes }]);
  });

  test("with the time at which it was observed where it has no other", () => {
    const span = trace.getTracer("test").startSpan("work");
    const record = { eventName: "order.paid", attributes: {}, hrTime: [0, 0], hrTimeObserved: [17, 5] } as const;
    const [hrTime, hrTimeObserved] = [[...record.hrTime], [...record.hrTimeObserved]] as [
      [number, number],
      [number, number],
    ];
    new SpanEventBridge().onEmit({ ...record, hrTime, hrTimeObserved, spanContext: span.spanContext() }, within(span));
    span.end();
    expect(telemetry.span("work").events).toMatchObject([{ time: [17, 5] }]);
  });
});

describe("nothing is put on a span", () => {
  test.each(["", undefined])("where the record has no event name: %j", (eventName) => {
    const { provider } = startBridge();
    const span = trace.getTracer("test").startSpan("work");
    provider
      .getLogger("test")
      .emit({ ...(eventName !== undefined && { eventName }), body: "a", context: within(span) });
    span.end();
    expect(telemetry.span("work").events).toEqual([]);
  });

  test("where the record was emitted in no span", () => {
    const span = trace.getTracer("test").startSpan("work");
    const record = { eventName: "order.paid", attributes: {}, hrTime: [1, 0], hrTimeObserved: [1, 0] };
    const times = { hrTime: [1, 0] as [number, number], hrTimeObserved: [1, 0] as [number, number] };
    new SpanEventBridge().onEmit({ ...record, ...times }, within(span));
    span.end();
    expect(telemetry.span("work").events).toEqual([]);
  });

  test("where the current span records no more", () => {
    const { provider } = startBridge();
    const span = trace.getTracer("test").startSpan("work");
    span.end();
    const add = vi.spyOn(span, "addEvent");
    provider.getLogger("test").emit({ eventName: "order.paid", context: within(span) });
    expect(add).not.toHaveBeenCalled();
  });

  test("where the current span is another than the record's", () => {
    const [span, other] = ["work", "other"].map((name) => trace.getTracer("test").startSpan(name));
    if (span === undefined || other === undefined) throw new Error("no spans");
    const times = { hrTime: [1, 0] as [number, number], hrTimeObserved: [1, 0] as [number, number] };
    const record = { eventName: "order.paid", attributes: {}, ...times, spanContext: other.spanContext() };
    new SpanEventBridge().onEmit(record, within(span));
    for (const one of [span, other]) one.end();
    expect(telemetry.spans().flatMap(({ events }) => events)).toEqual([]);
  });
});

test("a task that tells its events by records alone has them on its span again", async () => {
  const { provider } = startBridge();
  const job = { funcName: "job", logs: "record", loggerProvider: provider } as const;
  await runAttempt(job, () => taskEvent("order.paid", { "order.total": 12 }));
  expect(telemetry.span("process job").events).toMatchObject([
    { name: "order.paid", attributes: { "order.total": 12 } },
  ]);
});

test("it asks the active context where it is given none, and throws at nothing", () => {
  const span = trace.getTracer("test").startSpan("work");
  const bridge = new SpanEventBridge();
  const times = { hrTime: [1, 0] as [number, number], hrTimeObserved: [1, 0] as [number, number] };
  const record = { eventName: "order.paid", attributes: {}, ...times, spanContext: span.spanContext() };
  context.with(within(span), () => bridge.onEmit(record));
  expect(() => bridge.onEmit(undefined as never)).not.toThrow();
  span.end();
  expect(telemetry.span("work").events).toHaveLength(1);
});
