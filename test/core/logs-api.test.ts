import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { TaskManager, taskLog } from "otel-taskflow";
import { expect, test } from "vitest";
import { startLogs } from "../support/logs.js";
import { startTelemetry } from "../support/telemetry.js";

test("a global logs SDK gets the lines of a task, on the attempt's span", async () => {
  const telemetry = startTelemetry();
  const exporter = await startLogs();
  await using tasks = new TaskManager({ logs: "both" });
  const task = tasks.task("ship", () => taskLog("parcel handed over", { level: "warn", weight: 2.5 }));
  const id = await tasks.addTask(task, [], { tags: { plan: "pro" } });
  await tasks.idle();
  const [record] = exporter.getFinishedLogRecords();
  expect(record?.spanContext?.spanId).toBe(telemetry.span("process ship").spanContext().spanId);
  expect(record).toMatchObject({
    ...{ body: "parcel handed over", severityNumber: 13, severityText: "WARN" },
    attributes: { weight: 2.5, "task.id": id, "task.name": "ship", "task.attempt": 0, "task.tag.plan": "pro" },
    instrumentationScope: { name: "otel-taskflow" },
  });
});

test("a logs SDK registered after the manager was made gets them too", async () => {
  await using tasks = new TaskManager({ logs: "record" });
  const task = tasks.task("ship", () => taskLog("line"));
  await tasks.addTask(task);
  await tasks.idle();
  const exporter = await startLogs();
  await tasks.addTask(task);
  await tasks.idle();
  expect(exporter.getFinishedLogRecords().map((record) => record.body)).toEqual(["line"]);
});

test("a logger provider given to the manager is used instead of the global one", async () => {
  const globalExporter = await startLogs();
  const exporter = new InMemoryLogRecordExporter();
  const loggerProvider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] });
  await using tasks = new TaskManager({ logs: "record", loggerProvider });
  await tasks.addTask(tasks.task("ship", () => taskLog("line")));
  await tasks.idle();
  const count = (from: InMemoryLogRecordExporter): number => from.getFinishedLogRecords().length;
  expect([count(exporter), count(globalExporter)]).toEqual([1, 0]);
});

test("no logs SDK at all is no problem", async () => {
  await using tasks = new TaskManager({ logs: "both" });
  await tasks.addTask(tasks.task("ship", () => taskLog("nobody listens")));
  await tasks.idle();
});
