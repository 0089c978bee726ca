import { getTaskContext, type TaskManager } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { createTasks } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { startProcess } from "../process/start.js";
import type { EngineStore } from "../world.js";
import { type BullmqWorld, FAST, optionsOf, postgresWorld, redisWorld } from "./worlds.js";

const SLOW = { timeout: 60_000 };

for (const world of [await redisWorld("5"), await redisWorld("6"), await postgresWorld()]) {
  afterAll(() => world.close());
  if (world.unavailable !== undefined) describeUnavailable(`crashes, ${world.title}`, world.unavailable);
  else describe(`crashes, ${world.title}`, () => cases(world));
}

function cases(world: BullmqWorld): void {
  test("a task whose worker is killed runs again, the same attempt, though it has no retries", SLOW, async () => {
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

  test("a crash is told of the attempt that was lost, and of no later one", SLOW, async () => {
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

  test("a task that crashes too many workers fails in BullMQ, which is told to diag", SLOW, async () => {
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

  async function openStore(): Promise<EngineStore> {
    const store = await world.create();
    onTestFinished(() => store.close(), 20_000);
    return store;
  }

  /** Takes the first crash of a task for the last. */
  function careful({ location }: EngineStore): TaskManager {
    const { kind, url, queue } = JSON.parse(location) as { kind: "5"; url: string; queue: string };
    return createTasks({
      engine: bullmqEngine({ ...optionsOf(kind, url), queue, workerOptions: { ...FAST, maxStalledCount: 0 } }),
    });
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
