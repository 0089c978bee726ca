import { afterAll, describe, expect, test, vi } from "vitest";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { openTasks } from "./managers.js";

const PATIENT = { timeout: 20_000, interval: 50 };
const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("a backlog", { timeout: 60_000 }, describeBacklog);

function describeBacklog(): void {
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
}
