import { DiagLogLevel, SpanStatusCode } from "@opentelemetry/api";
import { Queue, Worker } from "bullmq";
import { enqueueTask, getTaskContext, runAttempt, taskLog } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { startLogs } from "../support/logs.js";
import { startMetrics } from "../support/metrics.js";
import { createTasks } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

const SECRET = "hunter2";

/** All that leaves by OpenTelemetry, by diag and on stderr while the test runs, as one text. */
async function everythingTold(): Promise<() => Promise<string>> {
  const telemetry = startTelemetry();
  const metrics = startMetrics();
  const records = await startLogs();
  const told = collectDiag(DiagLogLevel.ALL);
  const stderr: string[] = [];
  const print = vi.spyOn(console, "error").mockImplementation((...line) => void stderr.push(line.join(" ")));
  onTestFinished(() => print.mockRestore());
  return async () => {
    const spans = telemetry
      .spans()
      .map(({ name, attributes, events, status }) => ({ name, attributes, events, status }));
    const lines = records.getFinishedLogRecords().map(({ body, attributes }) => ({ body, attributes }));
    return JSON.stringify([spans, lines, [...(await metrics.collect())], told, stderr]);
  };
}

test("arguments and return values are never recorded, whatever becomes of the task", async () => {
  const told = await everythingTold();
  const tasks = createTasks({ logs: "both", onNotice: undefined });
  const charge = tasks.task(
    { name: "charge", retries: 1, timeout: 20 },
    async (card: { number: string }, how: string) => {
      taskLog("charging", { attempt: getTaskContext()?.attempt });
      if (how === "throws") throw new Error("declined");
      if (how === "hangs") await new Promise(() => {});
      return card;
    },
  );
  for (const how of ["returns", "throws", "hangs"]) await tasks.addTask(charge, [{ number: SECRET }, how]);
  await tasks.cancel(await tasks.addTask(charge, [{ number: SECRET }, "returns"]));
  await enqueueTask({ funcName: "sent" }, (carrier) => runAttempt({ carrier }, () => SECRET));
  await tasks.idle();
  const text = await told();
  expect(text).toContain("charging");
  expect(text).toContain("gave up");
  expect(text).toContain("declined");
  expect(text).not.toContain(SECRET);
});

test("an argument that is refused is told by its path and kind, never by its value", async () => {
  const told = await everythingTold();
  // nothing is sent: the arguments are looked at first
  const connection = { host: "127.0.0.1", port: 6379 };
  const tasks = createTasks({ engine: bullmqEngine({ Queue, Worker, connection, queue: `refused-${process.pid}` }) });
  const take = tasks.task("take", (_value: unknown) => {});
  const values = [
    new URL(`https://user:${SECRET}@db/`),
    Buffer.from(SECRET),
    new Error(SECRET),
    { [Symbol(SECRET).toString().slice(0, 6)]: Symbol(SECRET) },
    new Map([[SECRET, SECRET]]),
    Object.assign(() => {}, { token: SECRET }),
  ];
  const errors = await Promise.all(
    values.map((value) => tasks.addTask(take, [value]).catch((error: unknown) => error)),
  );
  expect(errors.map(String)).toEqual(values.map(() => expect.stringContaining("args[0]")));
  expect(`${errors.map(String).join()}${await told()}`).not.toContain(SECRET);
});

test("what a task throws is recorded with message and stack, and so are tags and log lines", async () => {
  const telemetry = startTelemetry();
  const tasks = createTasks();
  const fail = tasks.task("fail", () => {
    taskLog("a line", { field: "of a line" });
    throw new Error("a message");
  });
  await tasks.addTask(fail, [], { tags: { plan: "a tag" } });
  await tasks.idle();
  const { status, events, attributes } = telemetry.span("process fail");
  expect(status).toEqual({ code: SpanStatusCode.ERROR, message: "a message" });
  expect(attributes["task.tag.plan"]).toBe("a tag");
  expect(events.map(({ name }) => name)).toEqual(["a line", "exception"]);
  expect(String(events[1]?.attributes?.["exception.stacktrace"])).toContain("recorded.test.ts");
});
