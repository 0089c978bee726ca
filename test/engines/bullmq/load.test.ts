import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext, type TaskManager } from "otel-taskflow";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { createTasks } from "../../support/tasks.js";
import { describeUnavailable } from "../../support/unavailable.js";
import type { EngineStore } from "../world.js";
import { type BullmqWorld, postgresWorld, redisWorld } from "./worlds.js";

for (const world of [await redisWorld("5"), await redisWorld("6"), await postgresWorld()]) {
  afterAll(() => world.close());
  if (world.unavailable !== undefined) describeUnavailable(`load, ${world.title}`, world.unavailable);
  else describe(`load, ${world.title}`, () => cases(world));
}

function cases(world: BullmqWorld): void {
  test("two workers share 1,000 tasks, and each task runs once", async () => {
    const store = await openStore();
    const ran: string[][] = [[], []];
    const workers = ran.map((ids) => define(store, () => void ids.push(getTaskContext()?.taskId ?? "")));
    const [first] = workers;
    if (first === undefined) throw new Error("there is no worker");
    const ids = await Promise.all(Array.from({ length: 1_000 }, () => first.tasks.addTask(first.task)));
    await Promise.all(workers.map(({ tasks }) => tasks.work()));
    await first.tasks.idle();
    expect(ran.flat().toSorted()).toEqual(ids.toSorted());
    expect(ran.map((one) => one.length > 0)).toEqual([true, true]);
  });

  test("a worker that is shut down under load leaves the rest to another, and nothing runs twice to its end", async () => {
    const store = await openStore();
    const ended: string[] = [];
    const run = async (): Promise<void> => {
      await wait(20);
      if (!getTaskContext()?.signal.aborted) ended.push(getTaskContext()?.taskId ?? "");
    };
    const first = define(store, run);
    const ids = await Promise.all(Array.from({ length: 500 }, () => first.tasks.addTask(first.task)));
    await first.tasks.work();
    await vi.waitUntil(() => ended.length > 50, 10_000);
    const { completed } = await first.tasks.shutdown({ timeout: 5 });
    expect(completed).toBeLessThan(450);
    const second = define(store, run);
    await second.tasks.work();
    await second.tasks.idle();
    expect(ended.toSorted()).toEqual(ids.toSorted());
  });

  function define(store: EngineStore, run: () => unknown): { tasks: TaskManager; task: () => unknown } {
    const tasks = createTasks({ engine: store.engine({ concurrency: 20 }) });
    return { tasks, task: tasks.task("task", () => run()) };
  }

  async function openStore(): Promise<EngineStore> {
    const store = await world.create();
    onTestFinished(() => store.close());
    return store;
  }
}
