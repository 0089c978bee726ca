import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { getTaskContext, isTaskConfigError, TaskManager } from "otel-taskflow";
import { type PgBossEngineOptions, pgBossEngine } from "otel-taskflow/pg-boss";
import { fromPglite, PgBoss } from "pg-boss";
import { afterAll, describe, expect, test, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { install, postgresBackend } from "./backends.js";
import { openTasks } from "./managers.js";

const PATIENT = { timeout: 15_000, interval: 50 };
const NOWHERE = "postgres://nobody@127.0.0.1:1/nothing";
const backend = await postgresBackend();
afterAll(() => backend.close());

describe("pgBossEngine's options", () => {
  const boss = new PgBoss(NOWHERE);
  const wrong: readonly (readonly [option: string, value: unknown])[] = [
    ["boss", undefined],
    ["boss", NOWHERE],
    ["boss", { start() {}, fetch() {}, touch() {} }],
    ["queue", ""],
    ["queue", "my tasks"],
    ["queue", "q".repeat(101)],
    ["concurrency", 0],
    ["concurrency", 1.5],
    ["pollingIntervalSeconds", 0],
    ["heartbeatSeconds", 9],
    ["expireInSeconds", 86_400],
    ["maxLost", 0],
  ];

  test.for(wrong)("%s: %j is refused by its name", ([option, value]) => {
    const options = { boss, [option]: value } as PgBossEngineOptions;
    expect(() => pgBossEngine(options)).toThrow(expect.toSatisfy(isTaskConfigError));
    expect(() => pgBossEngine(options)).toThrow(new RegExp(`^${option}: expected`));
  });

  test("without a database, addTask rejects, and a shutdown ends all the same", async () => {
    collectDiag();
    const tasks = new TaskManager({ engine: pgBossEngine({ boss: new PgBoss(NOWHERE) }) });
    const task = tasks.task("task", () => {});
    const refused = { code: "TASK_STORE", stored: false, cause: { code: "ECONNREFUSED" } };
    await expect(tasks.addTask(task)).rejects.toMatchObject(refused);
    await expect(tasks.work()).rejects.toMatchObject(refused);
    await tasks.shutdown();
  });
});

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("the pg-boss engine", { concurrent: true }, describeEngine);

function describeEngine(): void {
  test("starts a task of its own process at once, however seldom it looks", async (context) => {
    const { tasks } = openTasks(backend, context).manager({ pollingIntervalSeconds: 3_600 });
    const ran = deferred();
    const task = tasks.task("task", () => ran.resolve());
    await tasks.work();
    await tasks.addTask(task);
    await ran.promise;
  });

  test("goes on at once when there was no room for all that was due", async (context) => {
    const { tasks } = openTasks(backend, context).manager({ pollingIntervalSeconds: 3_600, concurrency: 3 });
    let ran = 0;
    const task = tasks.task("task", async () => {
      await null;
      ran += 1;
    });
    for (let n = 0; n < 20; n += 1) await tasks.addTask(task);
    await tasks.work();
    await vi.waitFor(() => expect(ran).toBe(20), PATIENT);
  });

  test("stores { name, args } as a producer without this library may, and says where the rest is", async (context) => {
    const { manager, queue, visitor, span } = openTasks(backend, context);
    const { tasks } = manager();
    const ran = deferred<unknown>();
    tasks.task("greet", (...args: string[]) => ran.resolve([args, getTaskContext()?.taskId]));
    const singletonKey = "from elsewhere";
    await (await visitor()).send(queue, { name: "greet", args: ["hello"] }, { singletonKey });
    await tasks.work();
    expect(await ran.promise).toEqual([["hello"], singletonKey]);
    await vi.waitFor(() => span("process greet"), PATIENT);
    expect(span("process greet").attributes["task.wait.duration"]).toBeGreaterThanOrEqual(0);
  });

  test("fails what names no task, and goes on", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const beside = await visitor();
    const junk = [{}, { name: 7, args: [] }, { name: "" }];
    const ids = await Promise.all(junk.map((data) => beside.send(queue, data, { singletonKey: crypto.randomUUID() })));
    const { tasks } = manager({ concurrency: 1 });
    const ran = deferred();
    await tasks.addTask(tasks.task("task", () => ran.resolve()));
    await tasks.work();
    await ran.promise;
    const output = { message: "what is stored names no task" };
    const failed = junk.map(() => ({ state: "failed", output }));
    await vi.waitFor(async () => {
      const jobs = await Promise.all(ids.map((id) => beside.findJobs(queue, { id: String(id) })));
      expect(jobs.flat()).toMatchObject(failed);
    }, PATIENT);
  });

  test("keeps the job of a task under the task's id, and a given id as its singletonKey", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks } = manager();
    const task = tasks.task("task", (_n: number) => {});
    const id = await tasks.addTask(task, [7]);
    await tasks.addTask(task, [8], { taskId: "order-8" });
    const beside = await visitor();
    expect(await beside.findJobs(queue, { id })).toMatchObject([
      { singletonKey: id, data: { name: "task", args: [7] } },
    ]);
    expect(await beside.findJobs(queue, { key: "order-8" })).toMatchObject([{ data: { name: "task", args: [8] } }]);
  });

  test("keeps a task however long no worker comes for it", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks } = manager();
    const id = await tasks.addTask(tasks.task("task", () => {}));
    const [job] = await (await visitor()).findJobs(queue, { id });
    expect(Number(job?.keepUntil) - Number(job?.startAfter)).toBeGreaterThan(9 * 365 * 86_400_000);
  });

  test("starts no delayed task early that could not be cancelled", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks, boss } = manager();
    const id = await tasks.addTask(
      tasks.task("task", () => {}),
      [],
      { delay: 3_600_000 },
    );
    boss.cancel = () => Promise.reject(new Error("connection lost"));
    expect(await tasks.cancel(id)).toBe(false);
    const [job] = await (await visitor()).findJobs(queue, { id });
    expect(Number(job?.startAfter) - Date.now()).toBeGreaterThan(3_500_000);
  });

  test("cancels a task that is just on its way here", async (context) => {
    const { manager } = openTasks(backend, context);
    const { tasks, boss } = manager();
    const id = await tasks.addTask(tasks.task("task", () => new Promise(() => {})));
    const fetch = boss.fetch.bind(boss);
    let cancelled: Promise<boolean> | undefined;
    const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    vi.spyOn(boss, "fetch").mockImplementation(async (...args: Parameters<typeof fetch>) => {
      const jobs = await fetch(...args);
      if (jobs.length === 0 || cancelled !== undefined) return jobs;
      cancelled = tasks.cancel(id);
      await wait(200);
      return jobs;
    });
    await tasks.work();
    await vi.waitFor(() => expect(cancelled).toBeDefined(), PATIENT);
    expect(await cancelled).toBe(true);
    await tasks.idle();
  });

  test("a waiting task that several processes cancel at once is cancelled by one of them", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const onCancel = vi.fn();
    const managers = [manager({}, { onCancel }), manager({}, { onCancel })] as const;
    const task = managers[0].tasks.task("task", () => {});
    managers[1].tasks.task("task", () => {});
    const ids = await Promise.all(
      Array.from({ length: 10 }, () => managers[0].tasks.addTask(task, [], { delay: 60_000 })),
    );
    const told = ids.map(async (id) => {
      const answers = await Promise.all([...managers, ...managers].map(({ tasks }) => tasks.cancel(id)));
      return answers.filter(Boolean).length;
    });
    expect(await Promise.all(told)).toEqual(ids.map(() => 1));
    await vi.waitFor(() => expect(onCancel).toHaveBeenCalledTimes(10), PATIENT);
    const beside = await visitor();
    const jobs = await Promise.all(ids.map((id) => beside.findJobs(queue, { id })));
    expect(jobs.flat().map(({ state }) => state)).toEqual(ids.map(() => "cancelled"));
  });

  test("a waiting task that somebody else has just cancelled is not cancelled here", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const onCancel = vi.fn();
    const { tasks, boss } = manager({}, { onCancel });
    const beside = await visitor();
    const id = await tasks.addTask(
      tasks.task("task", () => {}),
      [],
      { delay: 60_000 },
    );
    const cancel = boss.cancel.bind(boss);
    boss.cancel = async (...args: Parameters<typeof cancel>) => {
      await beside.cancel(queue, id);
      return await cancel(...args);
    };
    expect(await tasks.cancel(id)).toBe(false);
    expect(onCancel).not.toHaveBeenCalled();
  });

  test("refuses a queue that was made with another policy", async (context) => {
    const { manager, queue } = openTasks(backend, context);
    const { tasks, boss } = manager();
    await boss.start();
    await boss.createQueue(queue);
    const error: unknown = await tasks.addTask(tasks.task("task", () => {})).catch((thrown: unknown) => thrown);
    expect([isTaskConfigError(error), String(error)]).toEqual([
      true,
      expect.stringContaining('the policy "exclusive"'),
    ]);
  });

  test("stops pg-boss with the manager, unless it is shared", async (context) => {
    const own = openTasks(backend, context).manager();
    const shared = openTasks(backend, context).manager({ shared: true });
    const stopped = vi.fn();
    for (const { tasks, boss } of [own, shared]) {
      boss.on("stopped", () => stopped(boss === shared.boss));
      await tasks.addTask(tasks.task("task", () => {}));
      await tasks.shutdown();
    }
    expect(stopped.mock.calls).toEqual([[false]]);
    expect(await shared.boss.getQueues()).not.toEqual([]);
    await shared.boss.stop();
  });

  test("says again and again that an attempt is still running", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks } = manager({ heartbeatSeconds: 10 });
    const gate = deferred();
    const id = await tasks.addTask(tasks.task("long", () => gate.promise));
    await tasks.work();
    const beside = await visitor();
    const touched = async (): Promise<void> => {
      const [job] = await beside.findJobs(queue, { id });
      expect(Number(job?.heartbeatOn) - Number(job?.startedOn)).toBeGreaterThan(1_000);
    };
    await vi.waitFor(touched, PATIENT);
    gate.resolve();
    await tasks.idle();
  });

  test("tells pg-boss with each task after how many seconds an attempt counts as lost", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks } = manager({ heartbeatSeconds: 11, expireInSeconds: 1_234 });
    const id = await tasks.addTask(tasks.task("task", () => {}));
    const [job] = await (await visitor()).findJobs(queue, { id });
    expect(job).toMatchObject({ heartbeatSeconds: 11, expireInSeconds: 1_234 });
  });

  test("gives back what it had asked for when a shutdown began", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks, boss } = manager();
    const run = vi.fn();
    const id = await tasks.addTask(tasks.task("task", run));
    const [asked, gate] = [deferred(), deferred()];
    const fetch = boss.fetch.bind(boss);
    vi.spyOn(boss, "fetch").mockImplementation(async (...args: Parameters<typeof fetch>) => {
      const jobs = await fetch(...args);
      asked.resolve();
      await gate.promise;
      return jobs;
    });
    await tasks.work();
    await asked.promise;
    const stopping = tasks.shutdown();
    gate.resolve();
    await stopping;
    expect(run).not.toHaveBeenCalled();
    expect(await (await visitor()).findJobs(queue, { id })).toMatchObject([{ state: "retry", retryCount: 0 }]);
  });

  test("lets no worker have a task that is just being cancelled", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks, boss } = manager();
    const id = await tasks.addTask(tasks.task("task", () => {}));
    const beside = await visitor();
    const cancel = boss.cancel.bind(boss);
    let claimed: unknown;
    boss.cancel = async (...args: Parameters<typeof cancel>) => {
      claimed = await beside.fetch(queue);
      return await cancel(...args);
    };
    expect([await tasks.cancel(id), claimed]).toEqual([true, []]);
  });

  // PGlite takes the event loop for seconds, in which no other test here would get an answer in time
  test("embedded in PGlite keeps tasks in a folder for the next process", { concurrent: false }, async ({
    onTestFinished,
  }) => {
    const folder = mkdtempSync(join(tmpdir(), "otel-taskflow-pglite-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const first = new PGlite(folder);
    await install({ db: fromPglite(first) });
    await first.close();
    const ran: unknown[] = [];
    const runs = async (act: (tasks: TaskManager, task: (n: number) => void) => Promise<unknown>): Promise<void> => {
      const pglite = new PGlite(folder);
      const tasks = new TaskManager({ engine: pgBossEngine({ boss: new PgBoss({ db: fromPglite(pglite) }) }) });
      await act(
        tasks,
        tasks.task("task", (n) => void ran.push(n)),
      );
      await tasks.shutdown();
      await pglite.close();
    };
    await runs((tasks, task) => tasks.addTask(task, [7]));
    expect(ran).toEqual([]);
    await runs(async (tasks) => {
      await tasks.work();
      await tasks.idle();
    });
    expect(ran).toEqual([7]);
  });
}
