import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext, TaskManager } from "otel-taskflow";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { PgBoss } from "pg-boss";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { postgresMissing, startPostgres } from "../../support/servers.js";
import { deferred } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { type Backend, postgresBackend, query } from "./backends.js";

const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("under load", describeLoad);

function describeLoad(): void {
  test("two workers run each of 1,000 tasks once", async () => {
    const managers = [managerOn(backend, "shared", 50), managerOn(backend, "shared", 50)] as const;
    const runs: string[][] = [[], []];
    const both = deferred();
    const work = managers.map((tasks, n) =>
      tasks.task("task", () => {
        runs[n]?.push(getTaskContext()?.taskId ?? "");
        if (runs.every(({ length }) => length > 0)) both.resolve();
        return both.promise;
      }),
    );
    const ids: string[] = [];
    // each waits for those before it, and no longer than ten seconds
    for (let slice = 0; slice < 10; slice += 1) {
      const adding = Array.from({ length: 100 }, (_, n) =>
        managers[n % 2 ? 0 : 1].addTask(work[n % 2 ? 0 : 1] as () => void),
      );
      ids.push(...(await Promise.all(adding)));
    }
    await Promise.all(managers.map((tasks) => tasks.work()));
    await Promise.all(managers.map((tasks) => tasks.idle()));
    expect(runs.flat().sort()).toEqual(ids.sort());
    expect(runs.map(({ length }) => length > 0)).toEqual([true, true]);
  });

  test("a shutdown in the middle of it loses no task and uses up no attempt", async () => {
    const [leaving, staying] = [managerOn(backend, "moved", 20), managerOn(backend, "moved", 20)];
    const done = new Map<string, number[]>();
    let started = 0;
    const stuck = leaving.task("task", async () => {
      started += 1;
      if (started % 2 === 0) await new Promise(() => {});
      note(done);
    });
    const ids = await Promise.all(Array.from({ length: 300 }, () => leaving.addTask(stuck)));
    await leaving.work();
    await vi.waitFor(() => expect(done.size).toBeGreaterThan(10), 10_000);
    const { abandoned } = await leaving.shutdown({ timeout: 100 });
    expect(abandoned.length).toBeGreaterThan(0);
    staying.task("task", () => note(done));
    await staying.work();
    await staying.idle();
    expect([...done.keys()].sort()).toEqual(ids.sort());
    expect([...done.values()]).toEqual(ids.map(() => [0]));
  });

  test("an older worker leaves 200 tasks of a name it lacks alone, and runs its own", async () => {
    const [old, current] = [managerOn(backend, "skew", 5), managerOn(backend, "skew", 5)];
    const ran: unknown[] = [];
    const added = current.task("added", () => void ran.push(getTaskContext()?.attempt));
    await Promise.all(Array.from({ length: 200 }, () => current.addTask(added)));
    const diag = collectDiag();
    const own = old.task("own", () => {});
    await old.work();
    for (let n = 0; n < 5; n += 1) await old.addTask(own);
    await vi.waitFor(async () => expect(await count(backend, "skew", "completed")).toBe(5), 10_000);
    expect(diag.filter((line) => line.includes("given back")).length).toBeLessThanOrEqual(10);
    await old.shutdown();
    await current.work();
    await current.idle();
    expect(ran).toEqual(Array.from({ length: 200 }, () => 0));
  });

  test.skipIf(postgresMissing() !== undefined)(
    "a restart of PostgreSQL with 500 tasks in flight loses none, and runs none twice",
    async () => {
      const server = await startPostgres();
      onTestFinished(() => server.stop());
      const diag = collectDiag();
      const own = await postgresBackend(server);
      const tasks = managerOn(own, "restart", 50);
      const done = new Map<string, number[]>();
      const task = tasks.task("task", async () => {
        await wait(30);
        note(done);
      });
      await tasks.work();
      const ids = await Promise.all(Array.from({ length: 500 }, () => tasks.addTask(task)));
      await vi.waitFor(() => expect(done.size).toBeGreaterThan(100), 10_000);
      await server.restart();
      const stored = async (): Promise<void> => expect(await count(own, "restart", "completed")).toBe(500);
      await vi.waitFor(stored, { timeout: 30_000, interval: 200 });
      expect([...done.keys()].sort()).toEqual(ids.sort());
      expect([...done.values()]).toEqual(ids.map(() => [0]));
      expect(diag.length).toBeGreaterThan(0);
    },
  );
}

/** Another worker on a queue, as another process would have it; a lost attempt is noticed within seconds. */
function managerOn({ connection }: Backend, queue: string, concurrency: number): TaskManager {
  const boss = new PgBoss({ ...connection, max: 5 });
  const settings = { pollingIntervalSeconds: 0.1, expireInSeconds: 5 };
  const tasks = new TaskManager({ engine: pgBossEngine({ boss, queue, concurrency, ...settings }) });
  onTestFinished(async () => void (await tasks.shutdown({ timeout: 0 })));
  return tasks;
}

function note(done: Map<string, number[]>): void {
  const { taskId = "", attempt = -1 } = getTaskContext() ?? {};
  done.set(taskId, [...(done.get(taskId) ?? []), attempt]);
}

async function count({ url = "", connection }: Backend, queue: string, state: string): Promise<number> {
  const sql = `SELECT count(*)::int AS n FROM ${connection.schema}.job WHERE name = '${queue}' AND state = '${state}'`;
  const [row] = (await query(url, sql)) as { n: number }[];
  return row?.n ?? 0;
}
