import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext, type TaskManager, type TaskManagerOptions } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { type LossyProxy, startProxy } from "../../support/lossy-proxy.js";
import { type OwnServer, postgresMissing, startPostgres, startRedis } from "../../support/servers.js";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import type { EngineStore } from "../world.js";
import { type BullmqWorld, type Kind, migrate, optionsOf, postgresWorld, redisWorld } from "./worlds.js";

/** A job that BullMQ has fetched, and whose answer was lost, is another's after some seconds. */
const SHORT_LOCKS = { lockDuration: 3_000, stalledInterval: 1_000 };
/** More answers than any call needs. */
const MOST_ANSWERS = 10;

for (const world of [await redisWorld("5"), await redisWorld("6"), await postgresWorld()]) {
  afterAll(() => world.close());
  if (world.unavailable !== undefined) describeUnavailable(`faults, ${world.title}`, world.unavailable);
  else describe(`faults, ${world.title}`, () => cases(world));
}

describe.each(["5", "6", "6 on PostgreSQL"] as const)("a restart, bullmq %s", (kind) => {
  test.skipIf(kind === "6 on PostgreSQL" && postgresMissing() !== undefined)(
    "has no task run again that ended while the server was away, and each end is told once",
    async () => {
      const { server, manager } = await openServer(kind);
      const { tasks, told } = listening(manager);
      const runs: string[] = [];
      const task = tasks.task({ name: "task", retries: 1, delay: 10 }, async (n: number, ms: number) => {
        const { attempt = 0 } = getTaskContext() ?? {};
        runs.push(`${n} ${attempt}`);
        await wait(ms);
        if (n % 2 === 1 && attempt === 0) throw new Error("not yet");
      });
      const ids = await Promise.all(Array.from({ length: 20 }, (_, n) => tasks.addTask(task, [n, 1_000 + n * 20])));
      await tasks.work();
      await expect.poll(() => runs.length, { timeout: 20_000 }).toBe(20);
      await server.kill();
      await wait(1_500);
      await server.restart();
      await tasks.idle();
      const attempts = Array.from({ length: 20 }, (_, n) => (n % 2 === 1 ? [`${n} 0`, `${n} 1`] : [`${n} 0`])).flat();
      expect(runs.toSorted()).toEqual(attempts.toSorted());
      const ends = ids.flatMap((id, n) => (n % 2 === 1 ? [`retry ${id}`, `success ${id}`] : [`success ${id}`]));
      expect(told.toSorted()).toEqual(ends.toSorted());
    },
  );
});

function cases(world: BullmqWorld): void {
  test("a success whose storing is cut is stored as a success, and told once", async () => {
    const { proxy, store, manager } = await open();
    const { tasks, told } = listening(manager);
    let runs = 0;
    const task = tasks.task({ name: "task", retries: 1 }, async (ms: number) => {
      runs += 1;
      await wait(ms);
    });
    const ids = await Promise.all(Array.from({ length: 30 }, (_, n) => tasks.addTask(task, [800 + n * 40])));
    await tasks.work();
    await expect.poll(() => runs, { timeout: 20_000 }).toBe(30);
    for (let cuts = 0; cuts < 20; cuts += 1) {
      await wait(100);
      proxy.cut();
    }
    await tasks.idle();
    expect([runs, told.toSorted()]).toEqual([30, ids.map((id) => `success ${id}`).toSorted()]);
    expect(await Promise.all(ids.map((id) => store.stateOf(id)))).toEqual(ids.map(() => undefined));
  });

  test("an end whose answer is lost is stored once, be it a success, a retry or the last", async () => {
    await overEachAnswer(async ({ proxy, store, manager }, skipped) => {
      const { tasks, told } = listening(manager);
      const gate = deferred();
      let runs = 0;
      const task = tasks.task({ name: "task", retries: 1, delay: 50 }, async (fails: boolean) => {
        runs += 1;
        await gate.promise;
        if (fails) throw new Error("no");
      });
      await tasks.work();
      const ids = [await tasks.addTask(task, [false]), await tasks.addTask(task, [true])];
      await expect.poll(() => runs, { timeout: 10_000 }).toBe(2);
      proxy.loseAnswer(skipped);
      gate.resolve();
      await tasks.idle();
      const isLost = proxy.keepAnswers();
      const ends = [`success ${ids[0]}`, `retry ${ids[1]}`, `failure ${ids[1]}`];
      expect([runs, told.toSorted()]).toEqual([3, ends.toSorted()]);
      expect(await Promise.all(ids.map((id) => store.stateOf(id)))).toEqual([undefined, "failed"]);
      return isLost;
    });
  });

  test("a cancel any answer of which is lost has cancelled the task, and tells it once", async () => {
    await overEachAnswer(async ({ proxy, store, manager }, skipped) => {
      const { tasks, told } = listening(manager);
      const task = tasks.task("task", () => {});
      const id = await tasks.addTask(task, [], { delay: 60_000 });
      proxy.loseAnswer(skipped);
      const isCancelled = await tasks.cancel(id);
      const isLost = proxy.keepAnswers();
      expect([isCancelled, await tasks.cancel(id), await store.stateOf(id)]).toEqual([true, false, undefined]);
      await tasks.idle();
      expect(told).toEqual([`cancel ${id}`]);
      return isLost;
    });
  });

  test("a task is added once or not at all, as addTask says, whichever answer is lost", async () => {
    await overEachAnswer(async ({ proxy, store, manager }, skipped) => {
      const { tasks } = listening(manager);
      const task = tasks.task("task", () => {});
      await tasks.addTask(task, [], { delay: 60_000 });
      for (const taskId of [undefined, crypto.randomUUID()]) {
        proxy.loseAnswer(skipped);
        const added = await tasks.addTask(task, [], { delay: 60_000, ...(taskId && { taskId }) }).catch(storedOf);
        if (!proxy.keepAnswers()) return false;
        if (added !== false) expect(await store.stateOf(added ?? "")).toBe("delayed");
        else if (taskId !== undefined) expect(await store.stateOf(taskId)).toBeUndefined();
      }
      return true;
    });
  });

  test("connections that break while the engine makes them end no process, and others are made", async () => {
    await overEachAnswer(async ({ proxy, manager }, skipped) => {
      const { tasks } = listening(manager);
      let runs = 0;
      const task = tasks.task("task", () => {
        runs += 1;
      });
      const works = (call: () => Promise<unknown>): Promise<boolean> =>
        call().then(
          () => true,
          () => false,
        );
      proxy.loseAnswer(skipped);
      await works(() => tasks.addTask(task));
      const isLost = proxy.keepAnswers();
      await expect.poll(() => works(() => tasks.addTask(task)), { timeout: 10_000 }).toBe(true);
      proxy.loseAnswer(skipped);
      await works(() => tasks.work());
      proxy.keepAnswers();
      await expect.poll(() => works(() => tasks.work()), { timeout: 10_000 }).toBe(true);
      await expect.poll(() => runs, { timeout: 10_000 }).toBeGreaterThan(0);
      return isLost;
    });
  });

  type Opened = {
    proxy: LossyProxy;
    store: EngineStore;
    manager: (options: TaskManagerOptions) => TaskManager;
  };

  async function open(): Promise<Opened> {
    collectDiag();
    const store = await world.create();
    onTestFinished(() => store.close());
    const { kind, url, queue } = JSON.parse(store.location) as { kind: Kind; url: string; queue: string };
    const behind = new URL(url);
    const proxy = await startProxy(Number(behind.port || (kind === "6 on PostgreSQL" ? 5432 : 6379)));
    const before = url.replace(behind.host, `127.0.0.1:${proxy.port}`);
    const engine = () =>
      bullmqEngine({ ...optionsOf(kind, before), queue, concurrency: 30, workerOptions: SHORT_LOCKS });
    return { proxy, store, manager: (options) => createTasks({ engine: engine(), onNotice: false, ...options }) };
  }

  /** With the first answer lost, with the second, and so on. */
  async function overEachAnswer(run: (opened: Opened, skipped: number) => Promise<boolean>): Promise<void> {
    const opened = await Promise.all(Array.from({ length: MOST_ANSWERS }, () => open()));
    const [isFirstLost] = await Promise.all(opened.map((one, skipped) => run(one, skipped)));
    expect(isFirstLost).toBe(true);
  }
}

async function openServer(kind: Kind): Promise<{
  server: OwnServer;
  manager: (options: TaskManagerOptions) => TaskManager;
}> {
  collectDiag();
  const server = await (kind === "6 on PostgreSQL" ? startPostgres() : startRedis());
  onTestFinished(() => server.stop());
  const url = kind === "6 on PostgreSQL" ? `${server.url}?schema=bullmq` : server.url;
  if (kind === "6 on PostgreSQL") await migrate(url);
  const engine = () => bullmqEngine({ ...optionsOf(kind, url), concurrency: 20 });
  return { server, manager: (options) => createTasks({ engine: engine(), onNotice: false, ...options }) };
}

/** A manager, and what its hooks were told. */
function listening(manager: (options: TaskManagerOptions) => TaskManager): { tasks: TaskManager; told: string[] } {
  const told: string[] = [];
  const tasks = manager({
    onSuccess: ({ context }) => void told.push(`success ${context.taskId}`),
    onRetry: ({ context }) => void told.push(`retry ${context.taskId}`),
    onFailure: ({ context }) => void told.push(`failure ${context.taskId}`),
    onCancel: ({ context }) => void told.push(`cancel ${context.taskId}`),
  });
  return { tasks, told };
}

/** What an error of `addTask` says of the task. */
function storedOf(error: unknown): false | undefined {
  return (error as { stored?: false | undefined }).stored;
}
