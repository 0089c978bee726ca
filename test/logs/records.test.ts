import { runAttempt, taskLog, taskLogFields } from "otel-taskflow";
import { expect, test } from "vitest";
import { startLogs } from "../support/logs.js";
import { createTasks } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

const charge = { funcName: "charge", taskId: "id-1", logs: "both" as const };

test("record, event and taskLogFields of one line agree on trace and span", async () => {
  const telemetry = startTelemetry();
  const exporter = await startLogs();
  const fields = await runAttempt(charge, () => {
    taskLog("charging");
    return taskLogFields();
  });
  const span = telemetry.span("process charge");
  const { traceId, spanId } = span.spanContext();
  expect(span.events.map((event) => event.name)).toEqual(["charging"]);
  expect(exporter.getFinishedLogRecords().map((record) => record.spanContext)).toMatchObject([{ traceId, spanId }]);
  expect(fields).toMatchObject({ trace_id: traceId, span_id: spanId });
});

test("under a span of the user's own, the record is that span's", async () => {
  const telemetry = startTelemetry();
  const exporter = await startLogs();
  await runAttempt(charge, () =>
    telemetry.provider.getTracer("test").startActiveSpan("query", (span) => {
      taskLog("querying");
      span.end();
    }),
  );
  const { traceId, spanId } = telemetry.span("query").spanContext();
  expect(exporter.getFinishedLogRecords().map((record) => record.spanContext)).toMatchObject([{ traceId, spanId }]);
});

test("each record of 100 concurrent tasks is on the span of its own task's attempt", async () => {
  const telemetry = startTelemetry();
  const exporter = await startLogs();
  const tasks = createTasks({ logs: "both" });
  const task = tasks.task("work", async (_number: number) => {
    taskLog("started");
    await Promise.resolve();
    taskLog("done");
  });
  await Promise.all(Array.from({ length: 100 }, (_, number) => tasks.addTask(task, [number])));
  await tasks.idle();
  const records = exporter.getFinishedLogRecords();
  const written = records.map(({ attributes, spanContext }) => `${attributes["task.id"]} ${spanContext?.spanId}`);
  const spans = telemetry.named("process work");
  expect(written).toHaveLength(200);
  expect(new Set(written)).toEqual(
    new Set(spans.map((span) => `${span.attributes["task.id"]} ${span.spanContext().spanId}`)),
  );
});
