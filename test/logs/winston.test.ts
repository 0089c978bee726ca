import { runAttempt, taskLogFields } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import winston from "winston";
import { deferred } from "../support/tasks.js";
import { collectLines, type LogLine } from "./collected-lines.js";
import { describeTaskFields, type SetUpLogger } from "./task-fields-contract.js";

const { combine, json } = winston.format;

function withDefaultMeta(options: winston.LoggerOptions): winston.Logger {
  const logger = winston.createLogger({ format: json(), ...options });
  let meta: object | undefined;
  return Object.defineProperty(logger, "defaultMeta", {
    get: () => ({ ...meta, ...taskLogFields() }),
    set: (own: object | undefined) => {
      meta = own;
    },
  });
}

function withFormat(options: winston.LoggerOptions): winston.Logger {
  const taskFields = winston.format((info) => Object.assign(info, taskLogFields()));
  return winston.createLogger({ format: combine(taskFields(), json()), ...options });
}

function create(): SetUpLogger & { logger: winston.Logger } {
  const { stream, first } = collectLines();
  const logger = withDefaultMeta({ transports: new winston.transports.Stream({ stream }) });
  return { logger, info: (message) => logger.info(message), lines: first };
}

describeTaskFields("winston with taskLogFields as its defaultMeta", create);

test("fields of the line, and those of a child logger, stand beside the task's", async () => {
  const { logger, lines } = create();
  const child = logger.child({ module: "bank" });
  await runAttempt({ funcName: "charge", taskId: "id-1" }, () => child.warn("refused", { code: 51 }));
  const line = { level: "warn", message: "refused", module: "bank", code: 51, task_id: "id-1", task_attempt: 0 };
  expect(await lines(1)).toMatchObject([line]);
});

test("logger.configure() goes on working, and so do the task's fields", async () => {
  const { logger } = create();
  const { stream, first } = collectLines();
  logger.configure({
    format: json(),
    transports: new winston.transports.Stream({ stream }),
    defaultMeta: { app: "shop" },
  });
  await runAttempt({ funcName: "charge", taskId: "id-1" }, () => logger.info("charging"));
  expect(await first(1)).toMatchObject([{ message: "charging", app: "shop", task_id: "id-1" }]);
});

/** Whose each of 200 lines says it is, and whose it is, where the transport is behind. */
async function logFaster(create: (options: winston.LoggerOptions) => winston.Logger): Promise<unknown[][]> {
  const { promise: caughtUp, resolve: catchUp } = deferred();
  const lines: LogLine[] = [];
  const transport = Object.assign(new winston.transports.Console(), {
    log(info: Record<symbol, string>, next: () => void) {
      lines.push(JSON.parse(info[Symbol.for("message")] ?? ""));
      void caughtUp.then(next);
    },
  });
  const logger = create({ transports: transport });
  for (let number = 0; number < 200; number += 1) {
    await runAttempt({ funcName: "charge", taskId: `id-${number}` }, () =>
      logger.info("line", { own: `id-${number}` }),
    );
  }
  catchUp();
  await expect.poll(() => lines.length).toBe(200);
  return lines.map((line) => [line.task_id, line.own]);
}

describe("with a transport that is behind", () => {
  test("the defaultMeta is that of the line's own task", async () => {
    const written = await logFaster(withDefaultMeta);
    expect(written.filter(([id, own]) => id !== own)).toEqual([]);
  });

  // Why the docs don't show a format: winston's formats run when the stream gets to the line.
  test("a format would give lines the task that happens to run", async () => {
    const written = await logFaster(withFormat);
    expect(written.filter(([id, own]) => id !== own).length).toBeGreaterThan(100);
  });
});
