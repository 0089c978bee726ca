import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext } from "otel-taskflow";
import { withTask } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { startMetrics, type TestMetrics } from "../../support/metrics.js";
import { startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import type { Job } from "./lab.js";
import { describeRoads } from "./roads.js";

const WAIT = "task.wait.duration";

const outcomes = (telemetry: TestTelemetry, name: string): unknown[] =>
  telemetry.named(`process ${name}`).map(({ attributes }) => attributes["task.outcome"]);

async function finished(metrics: TestMetrics): Promise<unknown[]> {
  const points = (await metrics.collect()).get("task.finished")?.dataPoints ?? [];
  return points.map(({ attributes, value }) => [attributes["task.outcome"], value]);
}

/** Gives a class the name that a minifier would, for one test. */
function minify<C extends object>(Class: C): C {
  const before = Object.getOwnPropertyDescriptor(Class, "name");
  Object.defineProperty(Class, "name", { value: "t", configurable: true });
  onTestFinished(() => void Object.defineProperty(Class, "name", before ?? {}));
  return Class;
}

await describeRoads("an attempt's outcome", (open, bullmq, { addJob, withTask }) => {
  class CardDeclined extends bullmq.UnrecoverableError {}
  test.each([
    ["a class derived from UnrecoverableError", () => new CardDeclined("declined")],
    ["a minified UnrecoverableError", () => new (minify(bullmq.UnrecoverableError))("declined")],
  ])("is failure after %s", async (_what, errorOf) => {
    const [telemetry, metrics, lab] = [startTelemetry(), startMetrics(), open()];
    lab.work(withTask(async () => Promise.reject(errorOf())));
    const { id } = await addJob(lab.queue, "charge", {}, { attempts: 3 });
    expect((await lab.reaches("failed", id)).attemptsMade).toBe(1);
    expect([outcomes(telemetry, "charge"), await finished(metrics)]).toEqual([["failure"], [["failure", 1]]]);
  });

  class NotYet extends bullmq.DelayedError {}
  test.each([
    ["a class derived from DelayedError", () => new NotYet("in a moment"), ["deferred", "success"]],
    ["a minified DelayedError", () => new (minify(bullmq.DelayedError))("in a moment"), ["deferred", "success"]],
  ])("is deferred after %s", async (_what, errorOf, expected) => {
    const [telemetry, metrics, lab] = [startTelemetry(), startMetrics(), open()];
    let runs = 0;
    const later = withTask(async (job: Job, token?: string) => {
      runs += 1;
      if (runs > 1) return;
      await job.moveToDelayed(Date.now() + 20, token);
      throw errorOf();
    });
    lab.work(later);
    const { id } = await addJob(lab.queue, "later", {}, { attempts: 3 });
    await lab.reaches("completed", id);
    expect([outcomes(telemetry, "later"), await finished(metrics)]).toEqual([expected, [["success", 1]]]);
  });

  const circular: { self?: object } = {};
  circular.self = circular;
  test.each<[what: string, result: unknown]>([
    ["an object that refers to itself", circular],
    ["a BigInt", 1n],
    ["an object that throws when it is written", { toJSON: () => JSON.parse("no") }],
  ])("is failure where BullMQ cannot store the result: %s", async (_what, result) => {
    const [telemetry, metrics, lab] = [startTelemetry(), startMetrics(), open()];
    lab.work(withTask(async () => result));
    const { id } = await addJob(lab.queue, "report", {}, { attempts: 2 });
    expect((await lab.reaches("failed", id)).attemptsMade).toBe(2);
    expect([outcomes(telemetry, "report"), await finished(metrics)]).toEqual([["retry", "failure"], [["failure", 1]]]);
  });

  test("is failure where the backoff strategy gives up, and that is asked once an attempt", async () => {
    const [telemetry, metrics, lab] = [startTelemetry(), startMetrics(), open()];
    const backoffStrategy = vi.fn((attemptsMade: number) => (attemptsMade >= 2 ? -1 : 10));
    lab.work(
      withTask(async () => Promise.reject(new Error("no"))),
      { settings: { backoffStrategy } },
    );
    const { id } = await addJob(lab.queue, "flaky", {}, { attempts: 9, backoff: { type: "custom" } });
    await lab.reaches("failed", id);
    expect([outcomes(telemetry, "flaky"), await finished(metrics)]).toEqual([["retry", "failure"], [["failure", 1]]]);
    expect(backoffStrategy.mock.calls.map(([attemptsMade]) => attemptsMade)).toEqual([1, 2]);
  });

  test("is failure where the worker starts no job that often", async () => {
    const [telemetry, metrics, lab] = [startTelemetry(), startMetrics(), open()];
    lab.work(
      withTask(async () => Promise.reject(new Error("no"))),
      { maxStartedAttempts: 2 },
    );
    const { id } = await addJob(lab.queue, "flaky", {}, { attempts: 9 });
    await lab.reaches("failed", id);
    expect([outcomes(telemetry, "flaky"), await finished(metrics)]).toEqual([["retry", "failure"], [["failure", 1]]]);
  });

  test("does not depend on what a name says that BullMQ does not go by", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    class Unrecoverable extends Error {
      override name = "UnrecoverableErrorOfOurs";
    }
    lab.work(withTask(async () => Promise.reject(new Unrecoverable("no"))));
    const { id } = await addJob(lab.queue, "charge", {}, { attempts: 2 });
    await lab.reaches("failed", id);
    expect(outcomes(telemetry, "charge")).toEqual(["retry", "failure"]);
  });

  test("comes to its end where a store refuses the error's text, which is the processor's still", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    const error = new SyntaxError("unexpected \0 and \ud83d");
    const failures: unknown[] = [];
    const worker = lab.work(withTask(async () => Promise.reject(error)));
    worker.on("failed", (_job, cause) => failures.push(cause instanceof SyntaxError, cause.name, cause.message));
    const { id } = await addJob(lab.queue, "parse", {}, {});
    expect((await lab.reaches("failed", id)).failedReason).toBe("unexpected \uFFFD and \uFFFD");
    await vi.waitFor(() => expect(failures).toEqual([true, "SyntaxError", "unexpected \uFFFD and \uFFFD"]));
    expect(telemetry.span("process parse").attributes["error.type"]).toBe("SyntaxError");
  });
});

await describeRoads("the wait of a job", (open, bullmq, { addJob, withTask }) => {
  test("is known of a job that was due when it was added", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    lab.work(withTask(async () => {}));
    await addJob(lab.queue, "numbered", {});
    const { id } = await addJob(lab.queue, "named", {}, { jobId: "order-7" });
    await lab.reaches("completed", id);
    for (const name of ["numbered", "named"]) {
      expect(telemetry.span(`process ${name}`).attributes[WAIT]).toEqual(expect.any(Number));
    }
  });

  test("is left out of a job that put itself off, was retried from zero, or had its delay changed", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    const runs = new Map<string, number>();
    const process = withTask(async (job: Job, token?: string) => {
      const run = (runs.get(job.name) ?? 0) + 1;
      runs.set(job.name, run);
      if (run > 1 || job.name === "changed") return;
      if (job.name === "again") throw new Error("no");
      await job.moveToDelayed(Date.now() + 10, token);
      throw new bullmq.DelayedError();
    });
    const changed = await addJob(lab.queue, "changed", {}, { delay: 60_000 });
    await changed.changeDelay(50);
    const again = await addJob(lab.queue, "again", {});
    const late = await addJob(lab.queue, "late", {});
    lab.work(process);
    await (await lab.reaches("failed", again.id)).retry("failed", { resetAttemptsMade: true });
    for (const { id } of [again, late, changed]) await lab.reaches("completed", id);
    const waits = (name: string): unknown[] =>
      telemetry.named(`process ${name}`).map(({ attributes }) => attributes[WAIT]);
    expect(waits("late")).toEqual([expect.any(Number), undefined]);
    expect(waits("again")).toEqual([expect.any(Number), undefined]);
    expect(waits("changed")).toEqual([undefined]);
  });

  test("is left out of a parent that waited for its children", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    lab.work(withTask(async (job: Job) => (job.name === "child" ? await wait(100) : undefined)));
    const queueName = lab.queue.name;
    for (const opts of [{}, { jobId: "order-8" }]) {
      const flow = await lab.flow().add({ name: "parent", queueName, opts, children: [{ name: "child", queueName }] });
      await lab.reaches("completed", flow.job.id);
    }
    expect(telemetry.named("process parent").map(({ attributes }) => attributes[WAIT])).toEqual([undefined, undefined]);
  });
});

test("an error that is frozen, and cannot be stored, is told by another of its class", async () => {
  const error = Object.freeze(new SyntaxError("unexpected \0"));
  const job = { id: "1", name: "parse", data: {}, opts: {}, timestamp: 1, attemptsMade: 0 };
  const told: unknown = await withTask(async (_job: typeof job) => Promise.reject(error))(job).catch((one) => one);
  expect(told).toBeInstanceOf(SyntaxError);
  expect(told).toMatchObject({ name: "SyntaxError", message: "unexpected \uFFFD", cause: error });
});

test.each([
  ["on the run after the loss", { attemptsStarted: 2, stalledCounter: 1 }, true],
  ["on none after that put itself off", { attemptsStarted: 3, stalledCounter: 1 }, undefined],
  ["on none of a job that was never lost", { attemptsStarted: 2, stalledCounter: 0 }, undefined],
])("a job is redelivered %s", async (_when, counts, expected) => {
  const telemetry = startTelemetry();
  const job = { id: "1", name: "poll", data: {}, opts: {}, timestamp: 1, attemptsMade: 0, ...counts };
  await withTask(async (_job: typeof job) => {})(job);
  expect(telemetry.span("process poll").attributes["task.redelivered"]).toBe(expected);
});

test.each([-5, 0.5, 1e300, Number.NaN, "x"])(
  "a job whose attempts were edited to %j runs as attempt 0",
  async (made) => {
    const job = { id: "1", name: "poll", data: {}, opts: {}, timestamp: 1, attemptsMade: made as number };
    expect(await withTask(async (_job: typeof job) => getTaskContext()?.attempt)(job)).toBe(0);
  },
);

await describeRoads("a processor", (open, _bullmq, { addJob, withTask }) => {
  test("that is a function has its worker for `this`, as without withTask", async () => {
    const lab = open();
    const seen: unknown[] = [];
    async function process(this: unknown, _job: Job): Promise<void> {
      seen.push(this);
    }
    const worker = lab.work(withTask(process));
    const { id } = await addJob(lab.queue, "job", {});
    await lab.reaches("completed", id);
    expect(seen).toEqual([worker]);
  });
});
