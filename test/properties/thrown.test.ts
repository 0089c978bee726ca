import { SpanStatusCode } from "@opentelemetry/api";
import fc from "fast-check";
import { enqueueTask, runAttempt, type TaskEvent } from "otel-taskflow";
import { withTask as bullmqTask } from "otel-taskflow/bullmq";
import { withTask as graphileTask } from "otel-taskflow/graphile-worker";
import { describe, expect, test } from "vitest";
import { watchUnhandled } from "../hostile/fixtures.js";
import { createTasks } from "../support/tasks.js";
import { startTelemetry, type TestTelemetry } from "../support/telemetry.js";
import { anything, everyHostile, type Wrapped } from "./arbitraries.js";

const RUNS = 120;
// fast-check starts with these, so that no kind of hostile value is left to chance
const EXAMPLES = everyHostile().map((wrapped): [Wrapped] => [wrapped]);

type Fails = (error: unknown) => unknown;
const ways: Record<string, Fails> = {
  "thrown by a function": (error) => {
    throw error;
  },
  "rejected by a promise": (error) => Promise.reject(error),
  "thrown after an await": async (error) => {
    await Promise.resolve();
    throw error;
  },
};

function expectFailed(telemetry: TestTelemetry): void {
  const span = telemetry.spans().at(-1);
  expect(span?.ended).toBe(true);
  expect(span?.status.code).toBe(SpanStatusCode.ERROR);
  expect(span?.events.map((event) => event.name)).toEqual(["exception"]);
  expect(typeof span?.attributes["error.type"]).toBe("string");
  expect(span?.attributes["error.type"]).not.toBe("");
  const { "exception.type": type, "exception.message": message } = span?.events[0]?.attributes ?? {};
  expect([typeof type, typeof message]).toEqual(["string", "string"]);
  const lengths = Object.values(span?.events[0]?.attributes ?? {}).map((text) => String(text).length);
  expect(Math.max(...lengths)).toBeLessThan(8_300);
}

/** What a promise rejects with, whatever it is. */
function reasonOf(promise: Promise<unknown>): Promise<{ reason: unknown } | undefined> {
  return promise.then(
    () => undefined,
    (reason: unknown) => ({ reason }),
  );
}

describe.each(Object.entries(ways))("any value %s", (_, fail) => {
  test("rejects runAttempt unchanged, its span ended in error with one exception", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        const error = make();
        const caught = await reasonOf(runAttempt({ funcName: "job" }, () => fail(error)));
        expect(caught !== undefined && Object.is(caught.reason, error)).toBe(true);
        expectFailed(telemetry);
      }),
      { numRuns: RUNS, examples: EXAMPLES },
    );
  });

  test("rejects enqueueTask unchanged when send fails with it", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        const error = make();
        const caught = await reasonOf(enqueueTask({ funcName: "job" }, () => fail(error)));
        expect(caught !== undefined && Object.is(caught.reason, error)).toBe(true);
        expectFailed(telemetry);
      }),
      { numRuns: RUNS / 2, examples: EXAMPLES },
    );
  });

  test("is retried and given up, reaches the hooks unchanged, and no one else", async () => {
    const telemetry = startTelemetry();
    const unhandled = watchUnhandled();
    const events: TaskEvent[] = [];
    const note = (event: TaskEvent): void => void events.push(event);
    const tasks = createTasks({ onRetry: note, onFailure: note });
    let error: unknown;
    const task = tasks.task({ name: "job", retries: 1 }, () => fail(error));
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        error = make();
        await tasks.addTask(task);
        await tasks.idle();
        expect(events.slice(-2).map((event) => Object.is(event.error, error))).toEqual([true, true]);
        expectFailed(telemetry);
      }),
      { numRuns: RUNS / 2, examples: EXAMPLES },
    );
    await unhandled.settled();
    expect(unhandled.reasons.length).toBe(0);
  });

  test("keeps no sibling from its result", async () => {
    const tasks = createTasks();
    const done: unknown[] = [];
    let error: unknown;
    const broken = tasks.task("broken", () => fail(error));
    const fine = tasks.task("fine", (id: number) => done.push(id));
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        done.length = 0;
        error = make();
        await Promise.all([tasks.addTask(fine, [1]), tasks.addTask(broken), tasks.addTask(fine, [2])]);
        await tasks.idle();
        expect(done).toEqual([1, 2]);
      }),
      { numRuns: RUNS / 2, examples: EXAMPLES },
    );
  });
});

test.each<[what: string, thrown: unknown, message: string]>([
  ["an object with a message", { code: 5, message: "card declined" }, "card declined"],
  ["an object with a message that is no text", { message: 5 }, "[object Object]"],
  ["a text", "no", "no"],
])("%s that is thrown has its message on the span, and no type of its own", async (_what, thrown, message) => {
  const telemetry = startTelemetry();
  await reasonOf(runAttempt({ funcName: "job" }, () => Promise.reject(thrown)));
  const { events, status } = telemetry.span("process job");
  expect([events[0]?.attributes, status.message]).toEqual([
    { "exception.type": "_OTHER", "exception.message": message },
    message,
  ]);
});

const graphileJob = {
  id: "1",
  key: null,
  task_identifier: "job",
  payload: {},
  attempts: 1,
  max_attempts: 3,
  flags: null,
};
const adapters: Record<string, (fail: () => Promise<never>) => Promise<unknown>> = {
  // they are called with as much of a job as they read
  bullmq: (fail) => bullmqTask(fail)({ id: "1", name: "job", opts: {}, attemptsMade: 0, timestamp: 1 } as never),
  "graphile-worker": (fail) => graphileTask(fail)({}, { job: graphileJob } as never),
};

test.each(Object.entries(adapters))(
  "any value reaches a worker of %s as what it can read and store",
  async (_, run) => {
    startTelemetry();
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        const caught = await reasonOf(run(() => Promise.reject(make())));
        const { message, stack } = Object(caught?.reason) as Partial<Error>;
        expect(Boolean(caught?.reason)).toBe(true);
        for (const text of [`${message || String(caught?.reason)}`, String(stack)]) {
          expect([text.isWellFormed(), text.includes("\0")]).toEqual([true, false]);
        }
      }),
      { numRuns: RUNS, examples: EXAMPLES },
    );
  },
);

test("any value returned is returned unchanged, its span ended without an error", async () => {
  const telemetry = startTelemetry();
  const plain = anything().filter(({ kind }) => kind === undefined);
  await fc.assert(
    fc.asyncProperty(plain, async ({ make }) => {
      const value = make();
      const returned = await runAttempt({ funcName: "job" }, () => ({ value }));
      expect(Object.is(returned.value, value)).toBe(true);
      expect(telemetry.spans().at(-1)?.status.code).toBe(SpanStatusCode.UNSET);
    }),
    { numRuns: RUNS },
  );
});
