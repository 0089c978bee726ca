import { Redis } from "ioredis";
import { enqueueTask, getTaskContext, TaskManager, type TaskManagerOptions } from "otel-taskflow";
import { addJob, type BullmqEngineOptions, bullmqEngine, withCarrier } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { startMetrics, type TestMetrics } from "../../support/metrics.js";
import { startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Lab } from "./lab.js";

/** A manager whose engine works on a lab's queue. */
function managerOn(lab: Lab, options: TaskManagerOptions = {}, more: Partial<BullmqEngineOptions> = {}): TaskManager {
  const { Queue, Worker } = lab.bullmq;
  const { connection, queue } = lab;
  const engine = bullmqEngine({ Queue, Worker, connection, queue: queue.name, ...more });
  const tasks = new TaskManager({ engine, ...options });
  onTestFinished(async () => void (await tasks.shutdown({ timeout: 0 })));
  return tasks;
}

async function finish(tasks: Pick<TaskManager, "work" | "idle">): Promise<void> {
  await tasks.work();
  await tasks.idle();
}

const outcomes = (telemetry: TestTelemetry, name: string): unknown[] =>
  telemetry.named(`process ${name}`).map(({ attributes }) => attributes["task.outcome"]);

async function sum(metrics: TestMetrics, name: string): Promise<number> {
  const points = (await metrics.collect()).get(name)?.dataPoints ?? [];
  return points.reduce((total, { value }) => total + Number(value), 0);
}

await describeVersions("the policy of who runs a task", (open) => {
  const no = (): Promise<never> => Promise.reject(new Error("no"));

  test("decides how often and when a job runs again that another producer added", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    const [onRetry, onFailure] = [vi.fn(), vi.fn()];
    const tasks = managerOn(lab, { onRetry, onFailure });
    const starts: number[] = [];
    tasks.task({ name: "thrice", retries: 2, delay: 60 }, () => {
      starts.push(Date.now());
      return no();
    });
    tasks.task({ name: "once", retries: 0 }, no);
    const { id } = await lab.queue.add("thrice", { args: [] });
    const once = await lab.queue.add("once", { args: [] }, { attempts: 9, backoff: { type: "fixed", delay: 10 } });
    await finish(tasks);
    expect([outcomes(telemetry, "thrice"), outcomes(telemetry, "once")]).toEqual([
      ["retry", "retry", "failure"],
      ["failure"],
    ]);
    expect([onRetry.mock.calls.length, onFailure.mock.calls.length]).toEqual([2, 2]);
    for (const [at, start] of starts.slice(1).entries()) expect(start - (starts[at] ?? 0)).toBeGreaterThanOrEqual(60);
    expect(telemetry.named("process thrice").map(({ attributes }) => attributes["task.max_attempts"])).toEqual([
      3, 3, 3,
    ]);
    expect([
      (await lab.reaches("failed", id)).attemptsMade,
      (await lab.reaches("failed", once.id)).attemptsMade,
    ]).toEqual([3, 1]);
  });

  test("gives way to the wish of one task, and to the worker's own bound", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    const onFailure = vi.fn();
    const tasks = managerOn(lab, { onFailure }, { workerOptions: { maxStartedAttempts: 3 } });
    const wished = tasks.task({ name: "wished", retries: 5, delay: 10 }, no);
    const bound = tasks.task({ name: "bound", retries: 5, delay: 10 }, () => no());
    await tasks.addTask(wished, [], { retries: 1 });
    await tasks.addTask(bound);
    await finish(tasks);
    expect(outcomes(telemetry, "wished")).toEqual(["retry", "failure"]);
    expect(outcomes(telemetry, "bound")).toEqual(["retry", "retry", "failure"]);
    expect(onFailure).toHaveBeenCalledTimes(2);
  });

  test("holds for what a scheduler adds", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    const tasks = managerOn(lab);
    tasks.task({ name: "sweep", retries: 1 }, no);
    await lab.queue.upsertJobScheduler("sweep", { every: 60_000, limit: 1 }, { name: "sweep", data: { args: [] } });
    await tasks.work();
    await vi.waitFor(() => expect(outcomes(telemetry, "sweep")).toEqual(["retry", "failure"]), 10_000);
  });
});

await describeVersions("jobs in flight when a queue moves to a TaskManager", (open) => {
  test("run as the tasks of their names, with their data, tags and trace, in each attempt", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    const tasks = managerOn(lab);
    const seen: unknown[] = [];
    const see = (...args: unknown[]): void => {
      const { attempt, tags } = getTaskContext() ?? {};
      seen.push([args, attempt, { ...tags }]);
      if (attempt === 0) throw new Error("no");
    };
    tasks.task({ name: "charge", retries: 1 }, see);
    await addJob(lab.queue, "charge", { order: 1 }, { attempts: 3, tags: { plan: "pro" } });
    await finish(tasks);
    await lab.queue.add("charge", "order 2");
    await finish(tasks);
    expect(seen).toEqual([
      [[{ order: 1 }], 0, { plan: "pro" }],
      [[{ order: 1 }], 1, { plan: "pro" }],
      [["order 2"], 0, {}],
      [["order 2"], 1, {}],
    ]);
    const [first, second] = telemetry.named("process charge");
    const { traceId, spanId } = telemetry.span("enqueue charge").spanContext();
    expect([first?.parentSpanContext?.spanId, second?.parentSpanContext?.spanId]).toEqual([spanId, spanId]);
    expect(second?.links.map(({ context }) => context.traceId)).toContain(traceId);
  });

  test("and those of a flow bring the carriers of their options", async () => {
    const [telemetry, lab] = [startTelemetry(), open()];
    const tasks = managerOn(lab);
    const seen: Record<string, unknown> = {};
    for (const name of ["parent", "child"]) {
      tasks.task(name, () => {
        seen[name] = { ...getTaskContext()?.tags };
      });
    }
    const queueName = lab.queue.name;
    await enqueueTask({ funcName: "parent", tags: { plan: "pro" } }, (carrier) =>
      lab.flow().add({
        ...{ name: "parent", queueName, data: { args: [] }, opts: withCarrier({}, carrier) },
        children: [{ name: "child", queueName, data: { args: [] }, opts: withCarrier({}, carrier) }],
      }),
    );
    await finish(tasks);
    expect(seen).toEqual({ parent: { plan: "pro" }, child: { plan: "pro" } });
    const { spanId } = telemetry.span("enqueue parent").spanContext();
    expect(telemetry.span("process child").parentSpanContext?.spanId).toBe(spanId);
    expect(telemetry.span("process parent").attributes["task.wait.duration"]).toBeUndefined();
  });

  test("run as the right attempt where what BullMQ counts was edited", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    const seen: unknown[] = [];
    tasks.task("edited", () => void seen.push(getTaskContext()?.attempt));
    const { id = "" } = await lab.queue.add("edited", { args: [] });
    const redis = new Redis(lab.connection);
    await redis.hset(lab.queue.toKey(id), "atm", "-5");
    redis.disconnect();
    await finish(tasks);
    expect(seen).toEqual([0]);
  });
});

await describeVersions("a task that an earlier release stored under an id of letters", (open) => {
  test("runs, is not stored again while it waits, and can be cancelled by its id", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    const run = vi.fn();
    const task = tasks.task("task", run);
    const store = (jobId: string): Promise<unknown> =>
      lab.queue.add("task", { args: [jobId] }, { jobId, attempts: 1, backoff: { type: "otel-taskflow" } });
    await store("nightly");
    await store("weekly");
    expect(await tasks.addTask(task, [], { taskId: "nightly" })).toBe("nightly");
    expect(await lab.queue.getJobCountByTypes("waiting")).toBe(2);
    expect(await tasks.cancel("weekly")).toBe(true);
    await finish(tasks);
    expect(run.mock.calls).toEqual([["nightly"]]);
    await tasks.addTask(task, ["anew"], { taskId: "nightly", delay: 60_000 });
    expect(await lab.queue.getJob("id=nightly")).toBeDefined();
  });
});

await describeVersions("a task's id", (open) => {
  test("is counted once for each task that was stored under it, however soon that ended", async () => {
    const [metrics, lab] = [startMetrics(), open()];
    const tasks = managerOn(lab);
    const run = vi.fn();
    const task = tasks.task("task", run);
    await tasks.work();
    for (let round = 0; round < 10; round += 1) {
      await Promise.all([1, 2, 3].map(() => tasks.addTask(task, [], { taskId: "order-7" })));
    }
    await tasks.idle();
    expect([await sum(metrics, "task.enqueued"), await sum(metrics, "task.finished")]).toEqual([
      run.mock.calls.length,
      run.mock.calls.length,
    ]);
  });
});
