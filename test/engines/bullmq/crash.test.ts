import { getTaskContext, isTaskLostError, type TaskManager } from "otel-taskflow";
import { type BullmqEngineOptions, bullmqEngine } from "otel-taskflow/bullmq";
import type { TaskEngine } from "otel-taskflow/engine";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { startProcess } from "../process/start.js";
import type { EngineStore } from "../world.js";
import { type BullmqWorld, FAST, type Kind, optionsOf, postgresWorld, redisWorld } from "./worlds.js";

for (const world of [await redisWorld("5"), await redisWorld("6"), await postgresWorld()]) {
  afterAll(() => world.close());
  if (world.unavailable !== undefined) describeUnavailable(`crashes, ${world.title}`, world.unavailable);
  else describe(`crashes, ${world.title}`, () => cases(world));
}

function cases(world: BullmqWorld): void {
  test("a task whose worker is killed runs again, the same attempt, though it has no retries", async () => {
    const telemetry = startTelemetry();
    const store = await openStore();
    const tasks = createTasks({ engine: store.engine() });
    const seen: unknown[] = [];
    const task = tasks.task("hangs", () => {
      const { taskId, attempt, maxAttempts, tags } = getTaskContext() ?? {};
      seen.push([taskId, attempt, maxAttempts, tags?.plan]);
    });
    const id = await tasks.addTask(task, [], { tags: { plan: "pro" } });
    await killDuring(store, id);
    await tasks.work();
    await tasks.idle();
    expect(seen).toEqual([[id, 0, 1, "pro"]]);
    expect(telemetry.span("process hangs").attributes).toMatchObject({ "task.redelivered": true, "task.attempt": 0 });
  });

  test("a crash is told of the attempt that was lost, and of no later one", async () => {
    const telemetry = startTelemetry();
    const store = await openStore();
    const tasks = createTasks({ engine: store.engine() });
    const task = tasks.task({ name: "hangs", retries: 1 }, () => {
      if (getTaskContext()?.attempt === 0) throw new Error("not yet");
    });
    await killDuring(store, await tasks.addTask(task));
    await tasks.work();
    await tasks.idle();
    const spans = telemetry.named("process hangs").map(({ attributes }) => attributes);
    const told = spans.map((one) => [one["task.attempt"], one["task.outcome"], one["task.redelivered"]]);
    expect(told).toEqual([
      [0, "retry", true],
      [1, "success", undefined],
    ]);
  });

  test("a task that crashes too many workers fails in BullMQ, which is told to diag", async () => {
    const lines = collectDiag();
    const store = await openStore();
    const tasks = careful(store);
    const run = vi.fn();
    const id = await tasks.addTask(tasks.task("hangs", run));
    await killDuring(store, id);
    await tasks.work();
    await vi.waitFor(async () => expect(await store.stateOf(id)).toBe("failed"), 20_000);
    await tasks.idle();
    expect(run).not.toHaveBeenCalled();
    expect(lines.join()).toMatch(`BullMQ gave up task ${id} without running it`);
  });

  test("a task that loses its workers too often gives up with the reason, and tells that", async () => {
    const store = await openStore();
    const failures: unknown[] = [];
    const tasks = createTasks({
      engine: engineOn(store, { maxLost: 2 }),
      onFailure: ({ context, error }) => void failures.push([context.taskId, context.attempt, isTaskLostError(error)]),
    });
    const run = vi.fn();
    const id = await tasks.addTask(tasks.task({ name: "hangs", retries: 3 }, run));
    await killDuring(store, id);
    await killDuring(store, id);
    await tasks.work();
    await tasks.idle();
    expect([run.mock.calls, failures, await store.stateOf(id)]).toEqual([[], [[id, 0, true]], "failed"]);
  });

  test("a run after a crash is still told of it when a worker gave it back meanwhile", async () => {
    const telemetry = startTelemetry();
    const store = await openStore();
    const [leaves, stays] = [createTasks({ engine: store.engine() }), createTasks({ engine: store.engine() })];
    const started = deferred();
    const hangs = (): Promise<never> => {
      started.resolve();
      return new Promise(() => {});
    };
    const id = await leaves.addTask(leaves.task("hangs", hangs));
    stays.task("hangs", () => {});
    await killDuring(store, id);
    await leaves.work();
    await started.promise;
    await leaves.shutdown({ timeout: 0 });
    await stays.work();
    await stays.idle();
    const spans = telemetry.named("process hangs").map(({ attributes }) => attributes);
    expect(spans.map((one) => [one["task.outcome"], one["task.redelivered"]])).toEqual([
      ["deferred", true],
      ["success", true],
    ]);
  });

  async function openStore(): Promise<EngineStore> {
    const store = await world.create();
    onTestFinished(() => store.close());
    return store;
  }

  /** Has BullMQ itself take the first crash of a task for the last. */
  function careful(store: EngineStore): TaskManager {
    return createTasks({ engine: engineOn(store, { workerOptions: { ...FAST, maxStalledCount: 0 } }) });
  }

  function engineOn({ location }: EngineStore, options: Partial<BullmqEngineOptions>): TaskEngine {
    const { kind, url, queue } = JSON.parse(location) as { kind: Kind; url: string; queue: string };
    return bullmqEngine({ ...optionsOf(kind, url), queue, workerOptions: FAST, ...options });
  }

  /** Has another process run the task, and kills it while it does. */
  async function killDuring(store: EngineStore, id: string): Promise<void> {
    const worker = startProcess("worker", world, store, { stays: true });
    onTestFinished(() => worker.kill());
    const { sighting } = await worker.first("ran");
    await worker.kill();
    expect(sighting.taskId).toBe(id);
  }
}
