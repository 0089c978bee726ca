import { getTaskContext, isTaskLostError, type TaskManagerOptions } from "otel-taskflow";
import type { PgBoss } from "pg-boss";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import { stopTelemetry, useContextManager } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { openTasks, type Tasks } from "./managers.js";

const PATIENT = { timeout: 40_000, interval: 50 };
const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("a task whose runs are lost", { concurrent: true }, describeLostRuns);

function describeLostRuns(): void {
  beforeAll(useContextManager);
  afterAll(stopTelemetry);

  test("gives up after maxLost of them, without another, and is told", async (context) => {
    const own = openTasks(backend, context);
    const { failed, hooks } = heardFailures();
    const { tasks } = own.manager({ maxLost: 2 }, hooks);
    const beside = await own.visitor();
    const run = vi.fn();
    const id = await tasks.addTask(tasks.task({ name: "task", retries: 5 }, run));
    for (let n = 0; n < 2; n += 1) await loseRun(beside, own, id);
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(beside, own, id))?.state).toBe("failed"), PATIENT);
    await tasks.idle();
    expect(run).not.toHaveBeenCalled();
    expect(failed.map(isTaskLostError)).toEqual([true]);
    expect((await stored(beside, own, id))?.output).toMatchObject({ name: "TaskLostError" });
  });

  test("runs again as long as fewer were lost, and says so; its next attempt counts anew", async (context) => {
    const own = openTasks(backend, context);
    const { tasks } = own.manager({ maxLost: 2 }, { onNotice: false });
    const beside = await own.visitor();
    const runs: unknown[] = [];
    const again = deferred();
    const task = tasks.task({ name: "task", retries: 1, delay: 3_000 }, () => {
      const { attempt, redelivered } = getTaskContext() ?? {};
      runs.push([attempt, redelivered]);
      if (attempt === 0) throw new Error("no");
      again.resolve();
    });
    const id = await tasks.addTask(task);
    await loseRun(beside, own, id);
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(beside, own, id))?.data).toHaveProperty("progress"), PATIENT);
    await loseRun(beside, own, id);
    await again.promise;
    expect(runs).toEqual([
      [0, true],
      [1, true],
    ]);
  });

  test("is redelivered still after a worker that does not know it has given it back", async (context) => {
    const own = openTasks(backend, context);
    const { failed, hooks } = heardFailures();
    const [{ tasks: lacks }, { tasks }] = [own.manager({}, { onNotice: false }), own.manager({ maxLost: 2 }, hooks)];
    const beside = await own.visitor();
    const redelivered: unknown[] = [];
    const run = (): void => void redelivered.push(getTaskContext()?.redelivered);
    const kept = await tasks.addTask(tasks.task("kept", run));
    await loseRun(beside, own, kept);
    const spent = await tasks.addTask(tasks.task("spent", () => run()));
    await loseRun(beside, own, spent, ["kept"]);
    await lacks.work();
    await vi.waitFor(async () => {
      for (const id of [kept, spent]) expect((await stored(beside, own, id))?.data).toHaveProperty("progress");
    }, PATIENT);
    await lacks.shutdown();
    await loseRun(beside, own, spent, ["kept"]);
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(beside, own, kept))?.state).toBe("completed"), PATIENT);
    await vi.waitFor(async () => expect((await stored(beside, own, spent))?.state).toBe("failed"), PATIENT);
    expect([redelivered, failed.map(isTaskLostError)]).toEqual([[true], [true]]);
  });

  test("that gave up runs once more where someone retries it in pg-boss", async (context) => {
    const own = openTasks(backend, context);
    const { tasks } = own.manager({ maxLost: 1 }, { onNotice: false });
    const beside = await own.visitor();
    const redelivered: unknown[] = [];
    const task = tasks.task("task", () => void redelivered.push(getTaskContext()?.redelivered));
    const id = await tasks.addTask(task);
    await loseRun(beside, own, id);
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(beside, own, id))?.state).toBe("failed"), PATIENT);
    await beside.retry(own.queue, id);
    await vi.waitFor(async () => expect((await stored(beside, own, id))?.state).toBe("completed"), PATIENT);
    expect(redelivered).toEqual([false]);
  });

  test("and that the release before has stored, with a limit of pg-boss's own, gives up and is told", async (context) => {
    const own = openTasks(backend, context);
    const { failed, hooks } = heardFailures();
    const { tasks } = own.manager({}, hooks);
    const beside = await own.visitor();
    const id = await tasks.addTask(tasks.task("task", () => {}));
    await beside.update(own.queue, undefined, { id, retryLimit: 10 });
    for (let n = 0; n < 10; n += 1) await loseRun(beside, own, id);
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(beside, own, id))?.state).toBe("failed"), PATIENT);
    await tasks.idle();
    expect(failed.map(isTaskLostError)).toEqual([true]);
  });

  test("is none that another producer stored, and that was only given back", async (context) => {
    const own = openTasks(backend, context);
    const [{ tasks: lacks, boss }, { tasks }] = [own.manager({}, { onNotice: false }), own.manager()];
    const beside = await own.visitor();
    const update = vi.spyOn(boss, "update");
    const id = String(await beside.send(own.queue, { name: "task", order: 7 }));
    await lacks.work();
    await vi.waitFor(() => expect(update.mock.settledResults).toHaveLength(1), PATIENT);
    await lacks.shutdown();
    await beside.update(own.queue, undefined, { id, startAfter: 0 });
    const runs: unknown[] = [];
    tasks.task("task", (data: unknown) => void runs.push([data, getTaskContext()?.redelivered]));
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(beside, own, id))?.state).toBe("completed"), PATIENT);
    expect(runs).toEqual([[{ name: "task", order: 7 }, false]]);
  });

  test("and that another producer stored keeps its limit, and counts no run that was given back", async (context) => {
    const own = openTasks(backend, context);
    const [{ tasks: lacks, boss }, { tasks }] = [own.manager({}, { onNotice: false }), own.manager({ maxLost: 2 })];
    const beside = await own.visitor();
    const redelivered: unknown[] = [];
    const update = vi.spyOn(boss, "update");
    const id = String(await beside.send(own.queue, { name: "task", order: 7 }, { retryLimit: 3, retryDelay: 0 }));
    await lacks.work();
    for (let back = 1; back <= 2; back += 1) {
      await vi.waitFor(() => expect(update.mock.settledResults.length).toBe(back), PATIENT);
      await beside.update(own.queue, undefined, { id, startAfter: 0 });
    }
    await lacks.shutdown();
    await loseRun(beside, own, id);
    const { retryCount = 0, retryLimit } = (await stored(beside, own, id)) ?? {};
    expect(retryLimit).toBe(3 + retryCount);
    tasks.task("task", () => void redelivered.push(getTaskContext()?.redelivered));
    await tasks.work();
    await vi.waitFor(async () => expect((await stored(beside, own, id))?.state).toBe("completed"), PATIENT);
    expect(redelivered).toEqual([true]);
  });
}

function heardFailures(): { readonly failed: unknown[]; readonly hooks: TaskManagerOptions } {
  const failed: unknown[] = [];
  return { failed, hooks: { onFailure: ({ error }) => void failed.push(error), onNotice: false } };
}

/** Claims the job that waits, unless it is one of another task, and lets it be lost as pg-boss does. */
async function loseRun(beside: PgBoss, { queue }: Tasks, id: string, ignoreGroups: string[] = []): Promise<void> {
  const waits = async (): Promise<void> => expect(await beside.findJobs(queue, { id, queued: true })).toHaveLength(1);
  await vi.waitFor(waits, PATIENT);
  const jobs = await beside.fetch(queue, { ignoreStartAfter: true, ignoreGroups });
  expect(jobs).toMatchObject([{ id }]);
  await beside.fail(queue, id, { value: { message: "job heartbeat timeout" } });
}

async function stored(beside: PgBoss, { queue }: Tasks, id: string) {
  return (await beside.findJobs(queue, { id }))[0];
}
