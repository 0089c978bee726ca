import { context, trace } from "@opentelemetry/api";
import type { InMemoryLogRecordExporter } from "@opentelemetry/sdk-logs";
import { AlwaysOffSampler } from "@opentelemetry/sdk-trace";
import { runAttempt, type TaskLogMode, taskEvent, taskLog } from "otel-taskflow";
import { beforeEach, describe, expect, test } from "vitest";
import { startLogs } from "../support/logs.js";
import { startTelemetry } from "../support/telemetry.js";

const JOB = { funcName: "job", taskId: "7", tags: { plan: "pro" } };

let exporter: InMemoryLogRecordExporter;
beforeEach(async () => {
  exporter = await startLogs();
});

function bodies(): unknown[] {
  return exporter.getFinishedLogRecords().map(({ body, eventName }) => body ?? eventName);
}

/** Runs an attempt, and returns what calls a function inside of it after its end. */
async function endedAttempt(logs: TaskLogMode = "event"): Promise<(fn: () => void) => void> {
  return await runAttempt({ ...JOB, logs }, () => {
    const inside = context.active();
    return (fn) => context.with(inside, fn);
  });
}

function inOwnSpan(fn: () => void): void {
  trace.getTracer("test").startActiveSpan("own", (span) => {
    fn();
    span.end();
  });
}

describe("outside a task", () => {
  test("a line is a record of the registered logs SDK where no span is active", () => {
    startTelemetry();
    taskLog("no task here", { level: "warn", path: "/" });
    taskEvent("order.paid", { "order.total": 12 });
    expect(exporter.getFinishedLogRecords()).toMatchObject([
      { body: "no task here", severityText: "WARN", attributes: { path: "/", "task.log.level": "warn" } },
      { eventName: "order.paid", severityText: "INFO", attributes: { "order.total": 12 } },
    ]);
  });

  test("it is so where the active span does not record, in the trace of that", () => {
    startTelemetry({ sampler: new AlwaysOffSampler() });
    trace.getTracer("test").startActiveSpan("request", (span) => {
      taskLog("not sampled");
      expect(exporter.getFinishedLogRecords()).toMatchObject([{ spanContext: span.spanContext() }]);
    });
  });

  test("it is on a span that records, and no record", () => {
    const telemetry = startTelemetry();
    inOwnSpan(() => taskLog("a line"));
    expect(telemetry.span("own").events.map(({ name }) => name)).toEqual(["a line"]);
    expect(bodies()).toEqual([]);
  });
});

describe("after its attempt has ended", () => {
  test("a line is on a span of one's own that records, and no record", async () => {
    const telemetry = startTelemetry();
    const late = await endedAttempt();
    late(() => inOwnSpan(() => taskLog("late")));
    expect(telemetry.span("own").events.map(({ name }) => name)).toEqual(["late"]);
    expect(bodies()).toEqual([]);
  });

  test.each<TaskLogMode>(["event", "record", "both"])("without such a span it is a record (%s)", async (logs) => {
    const telemetry = startTelemetry();
    const late = await endedAttempt(logs);
    late(() => taskLog("late"));
    late(() => taskEvent("order.paid"));
    expect(bodies()).toEqual(["late", "order.paid"]);
    const [record] = exporter.getFinishedLogRecords();
    expect(record?.attributes).toMatchObject({ "task.id": "7", "task.attempt": 0, "task.tag.plan": "pro" });
    const span = telemetry.span("process job");
    expect(record?.spanContext?.spanId).toBe(span.spanContext().spanId);
    expect(span.events).toEqual([]);
  });
});

test("an unsampled attempt that runs sends no record that nobody asked for", async () => {
  startTelemetry({ sampler: new AlwaysOffSampler() });
  await runAttempt(JOB, () => taskLog("a line"));
  expect(bodies()).toEqual([]);
});
