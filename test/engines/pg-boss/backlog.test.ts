import { getTaskContext } from "otel-taskflow";
import { afterAll, describe, expect, test, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { openTasks } from "./managers.js";

const PATIENT = { timeout: 20_000, interval: 50 };
const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("a backlog", describeBacklog);

function describeBacklog(): void {
  test("is fetched without its jobs' metadata, and what happens to a task between two looks counts", async (context) => {
    const { manager, visitor, queue } = openTasks(backend, context);
    const { tasks, boss } = manager({ concurrency: 2 });
    const runs = new Map<string, unknown[]>();
    const task = tasks.task({ name: "task", retries: 1, delay: 0 }, (fails: boolean) => {
      const { taskId = "", attempt, redelivered } = getTaskContext() ?? {};
      runs.set(taskId, [...(runs.get(taskId) ?? []), [attempt, redelivered]]);
      if (fails && attempt === 0) throw new Error("not yet");
    });
    const ids: string[] = [];
    for (let n = 0; n < 20; n += 1) ids.push(await tasks.addTask(task, [n % 5 === 4]));
    const beside = await visitor();
    const limited = ids[9] ?? "";
    await beside.update(queue, undefined, { id: limited, retryLimit: 0 });
    const fetch = vi.spyOn(boss, "fetch");
    await tasks.work();
    await tasks.idle();
    const looks = fetch.mock.calls.map(([, options]) => options?.includeMetadata ?? false);
    expect(looks.slice(0, 3)).toEqual([true, false, false]);
    const all = ids.map((_id, n) => [[0, false], ...(n % 5 === 4 ? [[1, false]] : [])]);
    expect(ids.map((id) => runs.get(id))).toEqual(all);
    expect(await beside.findJobs(queue, { id: limited })).toMatchObject([{ state: "completed" }]);
  });

  test("is read in its order from an index, also where PostgreSQL has no statistics of it", async (context) => {
    const { manager } = openTasks(backend, context);
    const { tasks, boss } = manager({ concurrency: 10 });
    const run = vi.fn();
    const task = tasks.task("task", run);
    await Promise.all(Array.from({ length: 8_000 }, () => tasks.addTask(task)));
    const db = boss.getDb();
    const execute = vi.spyOn(db, "executeSql");
    await tasks.work();
    await vi.waitFor(() => expect(run).toHaveBeenCalled(), PATIENT);
    const [sql = "", values] = execute.mock.calls.find(([text]) => text.includes("SKIP LOCKED")) ?? [];
    execute.mockRestore();
    const { rows } = await db.executeSql(`EXPLAIN ${sql}`, values);
    const plan = rows.map((row: Record<string, string>) => row["QUERY PLAN"]).join("\n");
    expect(plan).toContain("LockRows");
    expect(plan).not.toContain("Sort");
  });

  test("of short tasks is fetched and settled in larger parts, and no more run at once than may", async (context) => {
    const { manager } = openTasks(backend, context);
    const { tasks, boss } = manager({ concurrency: 5 });
    let running = 0;
    let most = 0;
    const task = tasks.task("task", async () => {
      running += 1;
      most = Math.max(most, running);
      await Promise.resolve();
      running -= 1;
    });
    await Promise.all(Array.from({ length: 500 }, () => tasks.addTask(task)));
    const [fetch, complete] = [vi.spyOn(boss, "fetch"), vi.spyOn(boss, "complete")];
    await tasks.work();
    await tasks.idle();
    expect(most).toBe(5);
    expect(Math.max(...fetch.mock.calls.map(([, options]) => options?.batchSize ?? 1))).toBe(20);
    expect(Math.max(...complete.mock.calls.map(([, claims]) => [claims].flat().length))).toBe(20);
  });

  test("keeps nothing that was fetched too early: others run it, and it can be cancelled", async (context) => {
    const { manager } = openTasks(backend, context);
    const [busy, free] = [manager({ concurrency: 2 }), manager({ concurrency: 2 })];
    const gate = deferred();
    context.onTestFinished(() => gate.resolve());
    const run = vi.fn(() => gate.promise);
    const [short, long] = [busy.tasks.task("short", () => {}), busy.tasks.task("long", run)];
    const runs: string[] = [];
    free.tasks.task("long", () => {
      const { taskId, attempt, redelivered } = getTaskContext() ?? {};
      runs.push(`${taskId} ${attempt} ${redelivered}`);
    });
    await Promise.all(Array.from({ length: 100 }, () => busy.tasks.addTask(short)));
    const ids: string[] = [];
    for (let n = 0; n < 8; n += 1) ids.push(await busy.tasks.addTask(long));
    await busy.tasks.work();
    await vi.waitFor(() => expect(run).toHaveBeenCalled(), { timeout: 20_000, interval: 1 });
    expect(await busy.tasks.cancel(ids[7] ?? "")).toBe(true);
    await free.tasks.work();
    await vi.waitFor(() => expect(runs).toHaveLength(5), PATIENT);
    const others = ids.slice(2, 7).map((id) => `${id} 0 false`);
    expect(runs.sort()).toEqual(others.sort());
  });
}
