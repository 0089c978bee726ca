import { getTaskContext, type TaskEngine, type TaskManager } from "otel-taskflow";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { type OwnServer, postgresMissing, startPostgres } from "../../support/servers.js";
import { createTasks } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { startProcess } from "../process/start.js";
import { queryOnce } from "./database.js";
import { VERSIONS, type Version } from "./versions.js";
import { createStore, type GraphileStore, STORES_MODULE } from "./worlds.js";

const UNLOCK_ALL = `select graphile_worker.force_unlock_workers(
  array(select distinct locked_by from graphile_worker.jobs where locked_by is not null))`;

const missing = postgresMissing();

if (missing !== undefined) describeUnavailable("graphileEngine's faults", missing);
else describe("graphileEngine", faultCases);

function faultCases(): void {
  let server: OwnServer;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.stop());

  const newStore = async (version: Version): Promise<GraphileStore> => {
    const store = await createStore(version, server.url);
    onTestFinished(() => store.close());
    return store;
  };

  describe.each(VERSIONS)("with %s", (version) => {
    test("a killed worker loses nothing, even with retries: 0, once what it held is unlocked", async () => {
      const telemetry = startTelemetry();
      const store = await newStore(version);
      const tasks = createTasks({ engine: store.engine() });
      const { id, seen } = await killWhileRunning(store, tasks);
      await queryOnce(store.url, UNLOCK_ALL);
      await tasks.work();
      await tasks.idle();
      expect([seen, await store.stateOf(id)]).toEqual([[[id, 0]], undefined]);
      const { attributes } = telemetry.span("process hangs");
      expect(attributes).toMatchObject({ "task.id": id, "task.redelivered": true, "task.outcome": "success" });
    });

    test("as the only worker, it frees by itself what a killed one held", async () => {
      const store = await newStore(version);
      const tasks = createTasks({ engine: store.engine({ onlyWorker: true }) });
      const { id, seen } = await killWhileRunning(store, tasks);
      await tasks.work();
      await tasks.idle();
      expect(seen).toEqual([[id, 0]]);
    });

    test("two worker processes run 1,000 tasks, each once", async () => {
      const store = await newStore(version);
      const tasks = createTasks({ engine: store.engine() });
      const remote = tasks.task({ name: "remote", retries: 1 }, (_n: number) => {});
      const ids = await Promise.all(Array.from({ length: 1_000 }, (_, n) => tasks.addTask(remote, [n])));
      const workers = [1, 2].map(() => startProcess("worker", { module: STORES_MODULE }, store, { telemetry: false }));
      onTestFinished(() => Promise.all(workers.map((worker) => worker.kill())).then(() => {}));
      for (const worker of workers) expect((await worker.ended()).exitCode).toBe(0);
      const ran = workers.map((worker) => worker.all("ran").map(({ sighting }) => sighting.taskId));
      expect(ran.flat().toSorted()).toEqual(ids.toSorted());
      expect(ran.map(({ length }) => length > 0)).toEqual([true, true]);
    });

    test("a shutdown under load runs again only what it cut short, and at once", async () => {
      const store = await newStore(version);
      const ran = new Map<number, number>();
      const define = (tasks: TaskManager) =>
        tasks.task("task", async (n: number) => {
          ran.set(n, (ran.get(n) ?? 0) + 1);
          await new Promise((resolve) => setTimeout(resolve, n === 20 ? 60_000 : 5));
        });
      const [first, second] = [createTasks({ engine: store.engine() }), createTasks({ engine: store.engine() })];
      const [task] = [define(first), define(second)];
      const ids = await Promise.all(Array.from({ length: 200 }, (_, n) => first.addTask(task, [n])));
      await first.work();
      await vi.waitUntil(() => ran.size > 50, 10_000);
      const { abandoned } = await first.shutdown({ timeout: 200 });
      expect(abandoned.map(({ taskId }) => taskId)).toEqual([ids[20]]);
      await second.work();
      await vi.waitUntil(() => ran.size === 200 && ran.get(20) === 2, 10_000);
      expect([...ran.values()].filter((times) => times > 1)).toEqual([2]);
    });

    test("a restart of the server with 500 tasks in flight loses none, and rejects nothing unheard", async () => {
      collectDiag();
      vi.spyOn(console, "trace").mockImplementation(() => {}); // graphile-worker's own, when one of its workers dies
      const unhandled = vi.fn();
      process.on("unhandledRejection", unhandled);
      onTestFinished(() => void process.off("unhandledRejection", unhandled));
      const store = await newStore(version);
      const told: string[] = [];
      const tasks = createTasks({ engine: heard(store.engine({ concurrency: 20 }), told) });
      const ended = new Set<number>();
      const task = tasks.task({ name: "task", retries: 1, delay: 50 }, async (n: number) => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (n % 5 === 0 && getTaskContext()?.attempt === 0) throw new Error("once more");
        ended.add(n);
      });
      await Promise.all(Array.from({ length: 500 }, (_, n) => tasks.addTask(task, [n])));
      await tasks.work();
      await vi.waitUntil(() => ended.size > 100, 10_000);
      await server.restart();
      await tasks.idle();
      const left = await queryOnce(store.url, "select * from graphile_worker.jobs");
      expect([ended.size, left, unhandled.mock.calls]).toEqual([500, [], []]);
      expect([told.includes("storeLost"), told.at(-1)]).toEqual([true, "storeBack"]);
    });
  });
}

/** Notes what an engine tells its host of its store. */
function heard(engine: TaskEngine, told: string[]): TaskEngine {
  const open = engine.open.bind(engine);
  engine.open = (host) => {
    const { storeLost, storeBack } = host;
    host.storeLost = (error) => {
      told.push("storeLost");
      storeLost.call(host, error);
    };
    host.storeBack = () => {
      told.push("storeBack");
      storeBack.call(host);
    };
    return open(host);
  };
  return engine;
}

/** Has another process start a task that never ends there, and kills it; the manager's own run of it ends. */
async function killWhileRunning(store: GraphileStore, tasks: TaskManager) {
  const seen: unknown[] = [];
  const hangs = tasks.task("hangs", () => void seen.push([getTaskContext()?.taskId, getTaskContext()?.attempt]));
  const id = await tasks.addTask(hangs);
  const worker = startProcess("worker", { module: STORES_MODULE }, store, { stays: true });
  onTestFinished(() => worker.kill());
  await worker.first("ran");
  await worker.kill();
  return { id, seen };
}
