import { type Attributes, context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { runAttempt, setTaskAttributes, type TaskLogMode, taskEvent } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { startLogs } from "../support/logs.js";
import { createTasks } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

const JOB = { funcName: "job", taskId: "7", tags: { plan: "pro" } };

async function inChildSpan(fn: () => void): Promise<void> {
  await trace.getTracer("test").startActiveSpan("child", async (span) => {
    await Promise.resolve();
    fn();
    span.end();
  });
}

describe("setTaskAttributes", () => {
  test("sets attributes on the attempt's span, from any helper and inside any child span", async () => {
    const telemetry = startTelemetry();
    await runAttempt(JOB, () => inChildSpan(() => setTaskAttributes({ "order.id": 7, "order.lines": ["a", "b"] })));
    expect(telemetry.span("process job").attributes).toMatchObject({ "order.id": 7, "order.lines": ["a", "b"] });
    expect(telemetry.span("child").attributes).toEqual({});
  });

  test("leaves this library's own names alone", async () => {
    const telemetry = startTelemetry();
    await runAttempt(JOB, () => setTaskAttributes({ "task.id": "mine", "task.tag.plan": "free", task: "kept" }));
    expect(telemetry.span("process job").attributes).toMatchObject({
      ...{ "task.id": "7", "task.tag.plan": "pro", task: "kept" },
    });
  });

  test("takes an attribute named as the level of a line is", async () => {
    const telemetry = startTelemetry();
    await runAttempt(JOB, () => setTaskAttributes({ level: 3 }));
    expect(telemetry.span("process job").attributes).toMatchObject({ level: 3 });
  });

  test("sets 64 attributes of an attempt, as often as it likes, so that how it ends has room on the span", async () => {
    const telemetry = startTelemetry();
    const attempt = runAttempt(JOB, () => {
      for (let n = 0; n < 200; n += 1) setTaskAttributes({ [`key.${n}`]: n, "key.0": n });
      throw new RangeError("no");
    });
    await expect(attempt).rejects.toThrow("no");
    const { attributes } = telemetry.span("process job");
    expect(attributes).toMatchObject({
      "task.outcome": "error",
      "error.type": "RangeError",
      "key.0": 199,
      "key.63": 63,
    });
    expect(Object.keys(attributes).filter((key) => key.startsWith("key."))).toHaveLength(64);
  });

  test("makes values safe, and never throws", async () => {
    const telemetry = startTelemetry();
    const hostile = new Proxy({}, { ownKeys: () => ["a"], get: () => 1, getOwnPropertyDescriptor: () => undefined });
    const values: unknown[] = [{ at: new Date(0), big: 10n }, hostile, undefined, null, 5];
    await runAttempt(JOB, () => {
      for (const value of values) setTaskAttributes(value as Attributes);
    });
    expect(telemetry.span("process job").attributes).toMatchObject({ at: "1970-01-01T00:00:00.000Z", big: "10" });
  });

  test("does nothing outside a task, where one was left, and after the attempt has ended", async () => {
    const telemetry = startTelemetry();
    const diag = collectDiag();
    let late = (): void => {};
    setTaskAttributes({ outside: true });
    await runAttempt(JOB, () => {
      late = context.bind(context.active(), () => setTaskAttributes({ late: true }));
      context.with(ROOT_CONTEXT, () => setTaskAttributes({ left: true }));
    });
    late();
    const { attributes } = telemetry.span("process job");
    expect(["outside", "late", "left"].filter((key) => key in attributes)).toEqual([]);
    expect(diag).toEqual([]);
  });
});

describe("taskEvent", () => {
  const EVENT = { name: "order.paid", attributes: { "order.total": 12 } };

  test("is an event on the active recording span: the user's own, or the attempt's", async () => {
    const telemetry = startTelemetry();
    await runAttempt(JOB, async () => {
      taskEvent("order.paid", { "order.total": 12 });
      await inChildSpan(() => taskEvent("order.sent"));
    });
    expect(telemetry.span("process job").events).toMatchObject([EVENT]);
    expect(telemetry.span("child").events).toMatchObject([{ name: "order.sent", attributes: {} }]);
  });

  test.each<[TaskLogMode, number, number]>([
    ["event", 1, 0],
    ["record", 0, 1],
    ["both", 1, 1],
  ])("with logs: %s is %i event of the span and %i log record of its name", async (logs, events, records) => {
    const [telemetry, exporter] = [startTelemetry(), await startLogs()];
    const tasks = createTasks({ logs });
    const task = tasks.task("job", () => taskEvent("order.paid", { "order.total": 12 }));
    await tasks.addTask(task, [], { taskId: "7" });
    await tasks.idle();
    const told = exporter.getFinishedLogRecords();
    expect([telemetry.span("process job").events.length, told.length]).toEqual([events, records]);
    for (const record of told) {
      expect(record).toMatchObject({ eventName: "order.paid", severityNumber: 9 });
      expect(record.body).toBeUndefined();
      expect(record.attributes).toMatchObject({ "order.total": 12, "task.id": "7", "task.attempt": 0 });
      expect(record.spanContext?.spanId).toBe(telemetry.span("process job").spanContext().spanId);
    }
  });

  test("has an attribute named as the level of a line is, and none of that", async () => {
    const telemetry = startTelemetry();
    await runAttempt(JOB, () => taskEvent("order.paid", { level: "gold" }));
    expect(telemetry.span("process job").events[0]?.attributes).toEqual({ level: "gold" });
  });

  test("reaches no onLog, as it is no line", async () => {
    const lines: unknown[] = [];
    await runAttempt({ ...JOB, onLog: (line) => void lines.push(line) }, () => taskEvent("order.paid"));
    expect(lines).toEqual([]);
  });

  test("outside a task is an event on the active span, if there is one, and never throws", () => {
    const telemetry = startTelemetry();
    taskEvent("nowhere");
    trace.getTracer("test").startActiveSpan("mine", (span) => {
      taskEvent("order.paid", { "order.total": 12 });
      span.end();
    });
    expect(telemetry.span("mine").events).toMatchObject([EVENT]);
  });
});
