import bunyan from "bunyan";
import { runAttempt, taskLogFields } from "otel-taskflow";
import { expect, test } from "vitest";
import { collectLines } from "./collected-lines.js";
import { describeTaskFields, type SetUpLogger } from "./task-fields-contract.js";

function create(): SetUpLogger & { logger: bunyan } {
  const { stream: target, first } = collectLines();
  const stream = {
    write(record: object) {
      target.write(`${JSON.stringify({ ...record, ...taskLogFields() }, bunyan.safeCycles())}\n`);
    },
  };
  const logger = bunyan.createLogger({ name: "orders", streams: [{ type: "raw", stream }] });
  return { logger, info: (message) => logger.info(message), lines: first };
}

describeTaskFields("bunyan with taskLogFields in a raw stream", create);

test("fields of the line, and those of a child logger made in another task, stand beside the task's", async () => {
  const { logger, lines } = create();
  const child = await runAttempt({ funcName: "charge", taskId: "id-1" }, () => logger.child({ module: "bank" }));
  await runAttempt({ funcName: "charge", taskId: "id-2" }, () => child.warn({ code: 51 }, "refused"));
  expect(await lines(1)).toMatchObject([
    { name: "orders", level: 40, msg: "refused", module: "bank", code: 51, task_id: "id-2", task_attempt: 0 },
  ]);
});
