import { EventEmitter } from "node:events";
import { TaskManager } from "otel-taskflow";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { PgBoss } from "pg-boss";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stopTelemetry, useContextManager } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { openTasks } from "./managers.js";

const NOWHERE = "postgres://nobody@127.0.0.1:1/nothing";
const backend = await postgresBackend();
afterAll(() => backend.close());

test("eleven managers on one PgBoss listen to its errors once, and not after their shutdown", async () => {
  const boss = new PgBoss(NOWHERE);
  const warned = vi.spyOn(process, "emitWarning");
  const managers = Array.from({ length: 11 }, () => new TaskManager({ engine: pgBossEngine({ boss, shared: true }) }));
  expect(boss.listenerCount("error")).toBe(1);
  // an error that nobody heard would end the process
  expect(boss.emit("error", new Error("connection lost"))).toBe(true);
  await Promise.all(managers.slice(1).map((tasks) => tasks.shutdown()));
  expect(boss.listenerCount("error")).toBe(1);
  await managers[0]?.shutdown();
  expect([boss.listenerCount("error"), warned.mock.calls]).toEqual([0, []]);
});

test("a PgBoss of an older version is refused in words by the engine", () => {
  const old = Object.assign(new EventEmitter(), { start() {}, fetch() {}, send() {}, work() {}, touch: undefined });
  const expected = /^boss: expected a PgBoss of version 12\.25 or later, received one without update\(\)/;
  expect(() => pgBossEngine({ boss: old as never })).toThrow(expected);
});

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("a pg-boss engine", { concurrent: true }, describeOutages);

function describeOutages(): void {
  beforeAll(useContextManager);
  afterAll(stopTelemetry);

  test("tells once that its database is away, and once that it is back", async (context) => {
    const { manager } = openTasks(backend, context);
    const notices: string[] = [];
    const { tasks, boss } = manager({}, { onNotice: ({ kind, message }) => void notices.push(`${kind}: ${message}`) });
    const fetch = vi.spyOn(boss, "fetch");
    await tasks.work();
    const away = (): Promise<never> => Promise.reject(Object.assign(new Error("away"), { code: "ECONNREFUSED" }));
    // a store in which nothing may be looked for is away as well
    const denied = (): Promise<never> => Promise.reject(Object.assign(new Error("denied"), { code: "42501" }));
    fetch.mockClear().mockImplementationOnce(away).mockImplementationOnce(denied).mockImplementationOnce(away);
    await vi.waitFor(() => expect(fetch.mock.calls.length).toBeGreaterThan(4), { timeout: 15_000 });
    await vi.waitFor(() => expect(notices).toHaveLength(2), { timeout: 15_000 });
    expect(notices).toEqual(["store: the store cannot be reached", "store: the store can be reached again"]);
  });

  test("takes what the database refuses for an answer, and tells of no outage", async (context) => {
    const { manager } = openTasks(backend, context);
    const notices: unknown[] = [];
    const { tasks, boss } = manager({}, { onNotice: (notice) => void notices.push(notice.kind) });
    const refused = Object.assign(new Error("unsupported Unicode escape sequence"), { code: "22P05" });
    vi.spyOn(boss, "insert").mockRejectedValueOnce(refused);
    await expect(tasks.addTask(tasks.task("task", () => {}))).rejects.toBe(refused);
    expect(notices).toEqual([]);
  });

  test("stores a failure without its details where the database refuses them", async (context) => {
    const { manager, queue, visitor, named } = openTasks(backend, context);
    const { tasks, boss } = manager();
    const fail = boss.fail.bind(boss);
    const refused = Object.assign(new Error("out of range"), { code: "22P05" });
    // what holds a message is refused
    boss.fail = async (...args: Parameters<typeof fail>) => {
      if (args[2] && "message" in args[2]) throw refused;
      return await fail(...args);
    };
    const task = tasks.task({ name: "task", retries: 1, delay: 10 }, () => Promise.reject(new Error("no")));
    const id = await tasks.addTask(task);
    await tasks.work();
    await tasks.idle();
    expect(named("process task").map(({ attributes }) => attributes["task.outcome"])).toEqual(["retry", "failure"]);
    expect(await (await visitor()).findJobs(queue, { id })).toMatchObject([{ state: "failed" }]);
  });

  test("does not wait in a task's idle() or shutdown() for that task", async (context) => {
    const { tasks } = openTasks(backend, context).manager();
    const idle = vi.fn();
    const task = tasks.task("task", async () => {
      await tasks.idle();
      idle();
      await tasks.shutdown({ timeout: 20_000 });
      idle();
    });
    await tasks.addTask(task);
    await tasks.work();
    await vi.waitFor(() => expect(idle).toHaveBeenCalledTimes(2), { timeout: 15_000 });
  });
}
