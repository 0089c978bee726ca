import type { TaskManager } from "otel-taskflow";
import type { PgBoss } from "pg-boss";
import { afterAll, describe, expect, test, vi } from "vitest";
import { type Deferred, deferred } from "../../support/tasks.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { openTasks, type Tasks } from "./managers.js";

const PATIENT = { timeout: 20_000, interval: 50 };
const QUIET = { onNotice: false as const };
const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("the sign of life of a running task", { concurrent: true }, describeHeartbeat);

function describeHeartbeat(): void {
  test("comes as often as its producer asked for, whatever the worker's own option says", async (context) => {
    const own = openTasks(backend, context);
    const [{ id, gate }, beside] = [await longTask(own, { heartbeatSeconds: 3_600 }), await own.visitor()];
    await vi.waitFor(async () => expect(await lifeOf(beside, own, id)).toBeGreaterThan(2_000), PATIENT);
    gate.resolve();
  });

  test("is one statement for all tasks that ask for it as often", async (context) => {
    const own = openTasks(backend, context);
    const { boss, gate, tasks } = await longTask(own, { heartbeatSeconds: 10 }, 5);
    const touch = vi.spyOn(boss, "touch");
    await vi.waitFor(() => expect(touch).toHaveBeenCalledTimes(1), PATIENT);
    expect(touch.mock.calls[0]?.[1]).toHaveLength(5);
    gate.resolve();
    await tasks.idle();
    touch.mockClear();
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(touch).not.toHaveBeenCalled();
  });

  test("comes again soon after one that was lost", async (context) => {
    const own = openTasks(backend, context);
    const { boss, gate } = await longTask(own, { heartbeatSeconds: 10 });
    const at: number[] = [];
    vi.spyOn(boss, "touch").mockImplementation(async () => {
      at.push(Date.now());
      throw new Error("Connection terminated unexpectedly");
    });
    await vi.waitFor(() => expect(at.length).toBeGreaterThan(2), PATIENT);
    expect(Number(at[2]) - Number(at[0])).toBeLessThan(6_000);
    gate.resolve();
  });

  test("goes on while its end cannot be stored yet", async (context) => {
    const own = openTasks(backend, context);
    const [{ boss, id, gate }, beside] = [await longTask(own, { heartbeatSeconds: 10 }), await own.visitor()];
    const complete = boss.complete.bind(boss);
    const away = vi.fn(() => Promise.reject(new Error("Connection terminated unexpectedly")));
    boss.complete = away;
    gate.resolve();
    await vi.waitFor(() => expect(away).toHaveBeenCalledTimes(2), PATIENT);
    const before = await lifeOf(beside, own, id);
    await vi.waitFor(async () => expect(await lifeOf(beside, own, id)).toBeGreaterThan(before + 2_000), PATIENT);
    boss.complete = complete;
    await vi.waitFor(async () => expect(await stateOf(beside, own, id)).toBe("completed"), PATIENT);
  });
}

interface LongTask {
  readonly tasks: TaskManager;
  readonly boss: PgBoss;
  readonly id: string;
  readonly gate: Deferred<void>;
}

/** Tasks that run until a gate opens, stored by one process with a heartbeat of 10 s, and run by another. */
async function longTask(own: Tasks, engine: { heartbeatSeconds: number }, count = 1): Promise<LongTask> {
  const [producer, { tasks, boss }] = [own.manager({ heartbeatSeconds: 10 }, QUIET), own.manager(engine, QUIET)];
  const gate = deferred();
  const run = vi.fn(() => gate.promise);
  tasks.task("long", run);
  const task = producer.tasks.task("long", run);
  const ids = await Promise.all(Array.from({ length: count }, () => producer.tasks.addTask(task)));
  await tasks.work();
  await vi.waitFor(() => expect(run).toHaveBeenCalledTimes(count), PATIENT);
  return { tasks, boss, id: ids[0] ?? "", gate };
}

/** Milliseconds from the start of a run until its last sign of life. */
async function lifeOf(beside: PgBoss, { queue }: Tasks, id: string): Promise<number> {
  const [job] = await beside.findJobs(queue, { id });
  return Number(job?.heartbeatOn) - Number(job?.startedOn);
}

async function stateOf(beside: PgBoss, { queue }: Tasks, id: string): Promise<string | undefined> {
  return (await beside.findJobs(queue, { id }))[0]?.state;
}
