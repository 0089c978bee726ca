import {
  type AttemptInfo,
  type Carrier,
  enqueueTask,
  isTaskConfigError,
  runAttempt,
  TaskTimeoutError,
} from "otel-taskflow";
import { beforeEach, describe, expect, test } from "vitest";
import { collectDiag, startTelemetry, type TestTelemetry } from "../support/telemetry.js";

let telemetry: TestTelemetry;
beforeEach(() => {
  telemetry = startTelemetry();
});

/** Runs an attempt of the task "job", and returns the attributes of its span. */
async function attributesOf(
  info: Partial<AttemptInfo>,
  fn: () => unknown = () => {},
): Promise<Record<string, unknown>> {
  await runAttempt({ funcName: "job", ...info }, fn).catch(() => {});
  return telemetry.named("process job").at(-1)?.attributes ?? {};
}

const fail = (): Promise<never> => Promise.reject(new RangeError("no"));

describe("giveUpIf", () => {
  test.each([
    ["gives up at once, whatever attempts are left", () => true, "failure"],
    ["leaves it to the attempts that are left", () => false, "retry"],
    [
      "counts as false where it throws",
      () => {
        throw new Error("broken");
      },
      "retry",
    ],
  ])("%s", async (_, giveUpIf, outcome) => {
    expect(await attributesOf({ maxAttempts: 3, giveUpIf }, fail)).toMatchObject({ "task.outcome": outcome });
  });

  test("is asked with what was thrown, and not where deferIf has decided", async () => {
    const asked: unknown[] = [];
    const giveUpIf = (error: unknown): boolean => asked.push(error) > 0;
    await attributesOf({ giveUpIf }, fail);
    expect(asked).toEqual([new RangeError("no")]);
    expect(await attributesOf({ giveUpIf, deferIf: () => true }, fail)).toMatchObject({ "task.outcome": "deferred" });
    expect(asked.length).toBe(1);
  });
});

test.each(["giveUpIf", "deferIf"])("%s has to be a function: with another value nothing runs", async (option) => {
  const failed = runAttempt({ funcName: "job", [option]: true } as unknown as AttemptInfo, () => "called");
  await expect(failed).rejects.toSatisfy(isTaskConfigError);
  await expect(failed).rejects.toThrow(`${option}: expected a function, received true`);
});

describe("the wait of an attempt", () => {
  async function carrierDueSecondsAgo(seconds: number): Promise<Carrier> {
    const carrier = await enqueueTask({ funcName: "job", taskId: "a" }, (sent) => sent);
    const own = JSON.parse(carrier["otel-taskflow"] ?? "");
    return { "otel-taskflow": JSON.stringify({ ...own, due: Date.now() - seconds * 1000 }) };
  }
  const wait = async (info: Partial<AttemptInfo>): Promise<unknown> => (await attributesOf(info))["task.wait.duration"];

  test("counts from the carrier's time for the first attempt, and is unknown for a retry", async () => {
    const carrier = await carrierDueSecondsAgo(100);
    expect(await wait({ carrier })).toBeGreaterThanOrEqual(100);
    expect(await wait({ carrier })).toBeLessThan(200);
    expect(await wait({ carrier, attempt: 1 })).toBeUndefined();
  });

  test("counts from the time that the caller gives, and is unknown where that says null", async () => {
    const carrier = await carrierDueSecondsAgo(100);
    expect(await wait({ carrier, dueAt: Date.now() - 1_000_000 })).toBeGreaterThanOrEqual(1000);
    expect(await wait({ carrier, dueAt: null })).toBeUndefined();
    expect(await wait({ dueAt: Date.now() + 60_000 })).toBe(0);
  });
});

test("an attempt of a task whose name was damaged is unnamed where its function is, too", async () => {
  const diag = collectDiag();
  await runAttempt({ carrier: { "otel-taskflow": '{"v":1,"id":"a","name":7}' } }, () => {});
  expect(telemetry.spans().map(({ name }) => name)).toEqual(["process unnamed"]);
  expect(diag.some((line) => line.includes("names no task"))).toBe(true);
});

test("an id that the broker assigns is the message's id, too", async () => {
  const sent = { id: "from-broker" };
  await enqueueTask({ funcName: "job", system: "sqs" }, () => sent, { idOf: ({ id }) => id });
  await enqueueTask({ funcName: "plain" }, () => sent, { idOf: ({ id }) => id });
  const ids = { "task.id": "from-broker", "messaging.message.id": "from-broker" };
  expect(telemetry.span("enqueue job").attributes).toMatchObject(ids);
  const { attributes } = telemetry.span("enqueue plain");
  expect([attributes["task.id"], attributes["messaging.message.id"]]).toEqual(["from-broker", undefined]);
});

test("an error says of which kind the value was that it refuses, and nothing of its content", async () => {
  const kinds: [unknown, string][] = [
    ["secret", "a string of 6 characters"],
    ["", "an empty string"],
    [7, "7"],
    [true, "true"],
    [null, "null"],
    [["secret"], "an array"],
    [{ secret: 1 }, "an object"],
    [() => "secret", "a function"],
    [Symbol("secret"), "a symbol"],
    [7n, "a bigint"],
  ];
  for (const [logs, kind] of kinds) {
    const failed = runAttempt({ funcName: "job", logs } as AttemptInfo, () => {});
    await expect(failed).rejects.toThrow(new RegExp(`^logs: expected "event", "record" or "both", received ${kind}$`));
  }
});

test.each<[keyof AttemptInfo, number, string]>([
  ["attempt", -1, "an integer from 0"],
  ["attempt", 0.5, "an integer from 0"],
  ["maxAttempts", 0, "an integer from 1"],
  ["maxAttempts", 1.5, "an integer from 1"],
  ["timeout", 0, "a number from 1"],
  ["dueAt", -1, "a number from 0"],
])("%s of %d is refused", async (option, value, expected) => {
  const failed = runAttempt({ funcName: "job", [option]: value }, () => {});
  await expect(failed).rejects.toThrow(new RegExp(`^${option}: expected ${expected}.*, received ${value}$`));
});

test.each([
  ["an array", ["secret"]],
  ["null", null],
  ["a string of 6 characters", "secret"],
  ["a Map (use Object.fromEntries)", new Map()],
  ["binary data", new Uint8Array(2)],
])("tags have to be an object, and no %s", async (kind, tags) => {
  const failed = runAttempt({ funcName: "job", tags } as unknown as AttemptInfo, () => {});
  await expect(failed).rejects.toThrow(`tags: expected an object, received ${kind}`);
});

test("a signal that aborts with a TaskTimeoutError is the attempt's timeout, which its policy judges", async () => {
  const timeout = new TaskTimeoutError("too long");
  const signal = AbortSignal.abort(timeout);
  await expect(runAttempt({ funcName: "job", maxAttempts: 3, signal }, () => "called")).rejects.toBe(timeout);
  expect(telemetry.span("process job").attributes).toMatchObject({ "task.outcome": "retry" });
});
