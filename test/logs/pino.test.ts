import { runAttempt, taskLogFields } from "otel-taskflow";
import { pino } from "pino";
import { expect, test } from "vitest";
import { collectLines } from "./collected-lines.js";
import { describeTaskFields } from "./task-fields-contract.js";

describeTaskFields("pino with `mixin: taskLogFields`", () => {
  const { stream, first } = collectLines();
  const logger = pino({ mixin: taskLogFields }, stream);
  return { info: (message) => logger.info(message), lines: first };
});

test("without an SDK a line still names its task, and no span", async () => {
  const { stream, first } = collectLines();
  const logger = pino({ mixin: taskLogFields, base: null, timestamp: false }, stream);
  await runAttempt({ funcName: "charge", taskId: "id-1" }, () => logger.info("charging"));
  expect(await first(1)).toEqual([
    { level: 30, task_id: "id-1", task_name: "charge", task_attempt: 0, msg: "charging" },
  ]);
});

test("a child logger names the task of the line, not the one it was made in", async () => {
  const { stream, first } = collectLines();
  const logger = pino({ mixin: taskLogFields }, stream);
  const child = await runAttempt({ funcName: "charge", taskId: "id-1" }, () => logger.child({ module: "bank" }));
  await runAttempt({ funcName: "charge", taskId: "id-2" }, () => child.info("charging"));
  expect(await first(1)).toMatchObject([{ module: "bank", task_id: "id-2" }]);
});
