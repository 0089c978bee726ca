import { type Context, context, propagation, ROOT_CONTEXT } from "@opentelemetry/api";
import { BaggageLogRecordProcessor } from "@opentelemetry/baggage-log-record-processor";
import { BaggageSpanProcessor } from "@opentelemetry/baggage-span-processor";
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { enqueueTask, runAttempt } from "otel-taskflow";
import { TaskLogRecordProcessor, TaskSpanProcessor } from "otel-taskflow/sdk";
import { expect, onTestFinished, test, vi } from "vitest";
import { startTelemetry } from "../support/telemetry.js";

const CALLER = { funcName: "job", taskId: "order-7", tags: { plan: "pro", region: "eu" } };
const isOfTask = (key: string): boolean => key === "task.id" || key.startsWith("task.tag.");
const claimed = (): Context => {
  const entries = { "task.id": { value: "caller" }, "task.tag.plan": { value: "free" } };
  return propagation.setBaggage(ROOT_CONTEXT, propagation.createBaggage(entries));
};
const fail = (): never => {
  throw new Error("down");
};

test("with baggage on all spans, an enqueue span tells of its own task, and not of the one whose call it serves", async () => {
  const telemetry = startTelemetry({ spanProcessors: [new BaggageSpanProcessor(isOfTask)] });
  await context.with(claimed(), () => enqueueTask({ funcName: "job", taskId: "own" }, () => {}));
  const { attributes } = telemetry.span("enqueue job");
  expect([attributes["task.id"], attributes["task.tag.plan"]]).toEqual(["own", undefined]);
});

test("nor does it tell of the task that it is enqueued by", async () => {
  const telemetry = startTelemetry({ spanProcessors: [new BaggageSpanProcessor(isOfTask)] });
  const child = { funcName: "child", taskId: "own", tags: { plan: "basic" } };
  await runAttempt({ ...CALLER, baggage: { id: true } }, () => enqueueTask(child, () => {}));
  const {
    "task.id": id,
    "task.tag.plan": plan,
    "task.tag.region": region,
  } = telemetry.span("enqueue child").attributes;
  expect([id, plan, region]).toEqual(["own", "basic", undefined]);
});

test("with baggage on all records, that of an exception tells of its own task", async () => {
  vi.stubEnv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "logs");
  onTestFinished(() => void vi.unstubAllEnvs());
  startTelemetry();
  const exporter = new InMemoryLogRecordExporter();
  const processors = [new BaggageLogRecordProcessor(isOfTask), new SimpleLogRecordProcessor({ exporter })];
  const loggerProvider = new LoggerProvider({ processors });
  const task = { funcName: "job", taskId: "own", loggerProvider };
  await context.with(claimed(), () => enqueueTask(task, fail)).catch(() => {});
  const [record] = exporter.getFinishedLogRecords();
  expect([record?.attributes["task.id"], record?.attributes["task.tag.plan"]]).toEqual(["own", undefined]);
});

test("spans and records that have the task's id by baggage get the rest of the task, too", async () => {
  const spanProcessors = [new BaggageSpanProcessor(isOfTask), new TaskSpanProcessor()];
  const { provider, span } = startTelemetry({ spanProcessors });
  const exporter = new InMemoryLogRecordExporter();
  const ofRecords = [new BaggageLogRecordProcessor(isOfTask), new TaskLogRecordProcessor()];
  const logs = new LoggerProvider({ processors: [...ofRecords, new SimpleLogRecordProcessor({ exporter })] });
  await runAttempt({ ...CALLER, baggage: { tags: false, id: true } }, () => {
    provider.getTracer("db").startSpan("query").end();
    logs.getLogger("any").emit({ body: "line" });
  });
  const task = { "task.id": "order-7", "task.name": "job", "task.attempt": 0, "task.tag.plan": "pro" };
  expect(span("query").attributes).toMatchObject(task);
  expect(exporter.getFinishedLogRecords()[0]?.attributes).toMatchObject(task);
});
