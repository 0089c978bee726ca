import { runAttempt, type TaskLogLine, taskLog, taskLogFields } from "otel-taskflow";
import { pino } from "pino";
import { expect, test } from "vitest";
import winston from "winston";
import { startTelemetry } from "../support/telemetry.js";
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
  const task = { task_id: "id-1", task_name: "charge", task_attempt: 0, task_tags: {} };
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
