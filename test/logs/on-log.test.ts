import { runAttempt, type TaskLogLine, taskLog, taskLogFields } from "otel-taskflow";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import winston from "winston";
import { createTasks, deferred } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";
import { type CollectedLines, collectLines } from "./collected-lines.js";

function pinoLines(): Pick<CollectedLines, "first"> & { onLog: (line: TaskLogLine) => void } {
  const { stream, first } = collectLines();
  const logger = pino({ level: "debug", base: null, timestamp: false, mixin: taskLogFields }, stream);
  return { first, onLog: ({ level, message, fields }) => logger[level](fields, message) };
}

const charge = { funcName: "charge", taskId: "id-1" };

test("each taskLog is one line of pino, at its level, without any SDK", async () => {
  const { onLog, first } = pinoLines();
  await runAttempt({ ...charge, onLog }, () => {
    taskLog("asking the bank", { level: "debug", amount: 12.5 });
    taskLog("charging");
    taskLog("slow answer", { level: "warning" });
    taskLog("refused", { level: "error" });
  });
  const task = { task_id: "id-1", task_name: "charge", task_attempt: 0 };
  expect(await first(4)).toEqual([
    { level: 20, ...task, amount: 12.5, msg: "asking the bank" },
    { level: 30, ...task, msg: "charging" },
    { level: 40, ...task, msg: "slow answer" },
    { level: 50, ...task, msg: "refused" },
  ]);
});

test("pino's err serializer gets the error itself, nested fields stay nested", async () => {
  const { onLog, first } = pinoLines();
  const err = new RangeError("over the limit", { cause: new Error("card") });
  await runAttempt({ ...charge, onLog }, () => taskLog("refused", { err, card: { brand: "visa", digits: [4, 2] } }));
  const [line] = await first(1);
  const message = "over the limit: card";
  expect(line).toMatchObject({ err: { type: "RangeError", message, stack: expect.stringContaining("on-log.test") } });
  expect(line).toMatchObject({ card: { brand: "visa", digits: [4, 2] } });
});

test("a line under a span of the user's own names that span, like the event of the same taskLog", async () => {
  const telemetry = startTelemetry();
  const { onLog, first } = pinoLines();
  await runAttempt({ ...charge, onLog }, () =>
    telemetry.provider.getTracer("test").startActiveSpan("query", (span) => {
      taskLog("querying");
      span.end();
    }),
  );
  const query = telemetry.span("query");
  expect(query.events.map((event) => event.name)).toEqual(["querying"]);
  expect(await first(1)).toMatchObject([{ span_id: query.spanContext().spanId, task_id: "id-1" }]);
});

test("each taskLog is one line of winston, at its level", async () => {
  const { stream, first } = collectLines();
  const transports = new winston.transports.Stream({ stream });
  const logger = winston.createLogger({ level: "debug", format: winston.format.json(), transports });
  const onLog = ({ level, message, fields }: TaskLogLine): unknown => logger.log(level, message, fields);
  await runAttempt({ ...charge, onLog }, () => {
    for (const level of ["debug", "info", "warn", "error"] as const) taskLog("asking", { level, amount: 12.5 });
  });
  const levels = ["debug", "info", "warn", "error"];
  expect(await first(4)).toEqual(levels.map((level) => ({ level, message: "asking", amount: 12.5 })));
});

describe.each([true, false])("with a context manager: %s, an onLog that writes to the task's log", (contextManager) => {
  test("hears each line of the task once, and none of its own, at once or later", async () => {
    const telemetry = startTelemetry({ contextManager });
    const heard: string[] = [];
    const later: Promise<void>[] = [];
    const onLog = ({ message }: TaskLogLine): void => {
      heard.push(message);
      taskLog("from onLog");
      later.push(Promise.resolve().then(() => taskLog("later")));
    };
    await runAttempt({ ...charge, onLog }, async () => {
      taskLog("one");
      await Promise.all(later);
      taskLog("two");
      await Promise.all(later);
    });
    expect(heard).toEqual(["one", "two"]);
    const written = telemetry.span("process charge").events.map((event) => event.name);
    expect(written).toEqual(["one", "from onLog", "later", "two", "from onLog", "later"]);
  });
});

describe("a promise that onLog returns", () => {
  test("is waited for by idle(), also where it rejects", async () => {
    const told = collectDiag();
    const line = deferred();
    const tasks = createTasks({ onLog: () => line.promise });
    await tasks.addTask(tasks.task("job", () => taskLog("line")));
    let idle = false;
    const waiting = tasks.idle().then(() => {
      idle = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(idle).toBe(false);
    line.reject(new Error("no disk"));
    await waiting;
    expect(told.filter((one) => one.includes("onLog failed"))).toHaveLength(1);
  });

  test("is waited for by shutdown(), up to its deadline", async () => {
    const line = deferred();
    const tasks = createTasks({ onLog: () => line.promise });
    await tasks.addTask(tasks.task("job", () => taskLog("line")));
    const start = performance.now();
    const report = await tasks.shutdown({ timeout: 60 });
    expect(performance.now() - start).toBeGreaterThan(50);
    expect(report).toMatchObject({ completed: 1, abandoned: [] });
  });
});

test("what taskLogFields returns is the caller's to change, as redaction does", async () => {
  const tags = { email: "user@example.com" };
  const seen = await runAttempt({ ...charge, tags }, () => {
    const fields = taskLogFields() as { task_tags: Record<string, string> };
    fields.task_tags.email = "[redacted]";
    return [fields.task_tags, taskLogFields().task_tags];
  });
  expect(seen).toEqual([{ email: "[redacted]" }, tags]);
});
