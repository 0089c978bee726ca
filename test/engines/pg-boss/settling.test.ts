import { getTaskContext } from "otel-taskflow";
import type { PgBoss } from "pg-boss";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import { collectDiag, otherLinks, stopTelemetry, useContextManager } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { openTasks } from "./managers.js";

const PATIENT = { timeout: 15_000, interval: 50 };
const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("storing how an attempt ended", describeSettling);

function describeSettling(): void {
  beforeAll(useContextManager);
  afterAll(stopTelemetry);

  test("cut short between pg-boss's statements, starts a retry neither early nor under another number", async (context) => {
    const { manager, named } = openTasks(backend, context);
    const { tasks, boss } = manager();
    const diag = collectDiag();
    failOnce(boss, "update");
    const starts: number[] = [];
    const task = tasks.task({ name: "task", retries: 1, delay: 2_500 }, () => {
      starts.push(Date.now());
      if (getTaskContext()?.attempt === 0) throw new Error("not yet");
    });
    await tasks.addTask(task);
    await tasks.work();
    await vi.waitFor(() => expect(named("process task")).toHaveLength(2), PATIENT);
    expect(Number(starts[1]) - Number(starts[0])).toBeGreaterThanOrEqual(2_499);
    const [first, second] = named("process task");
    expect(second?.attributes).toMatchObject({ "task.attempt": 1, "task.outcome": "success" });
    expect(second?.attributes["task.redelivered"]).toBeUndefined();
    expect(second && otherLinks(second)).toMatchObject([{ context: { spanId: first?.spanContext().spanId } }]);
    expect(diag.join()).toContain("could not be stored yet");
  });

  test("cut short when a task gave up, does not run it again", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks, boss } = manager();
    failOnce(boss, "update");
    const run = vi.fn(() => Promise.reject(new Error("no")));
    const id = await tasks.addTask(tasks.task("task", run));
    await tasks.work();
    const beside = await visitor();
    await vi.waitFor(async () => expect((await beside.findJobs(queue, { id }))[0]?.state).toBe("failed"), PATIENT);
    const [job] = await beside.findJobs(queue, { id });
    expect(job?.output).toMatchObject({ name: "Error", message: "no" });
    expect(job?.output).not.toHaveProperty("otel-taskflow");
    expect(run).toHaveBeenCalledOnce();
  });

  test("cut short when a task gave up, leaves nothing to cancel", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const [{ tasks, boss }, other] = [manager(), manager()];
    const update = vi.fn((): Promise<never> => Promise.reject(new Error("connection lost")));
    boss.update = update;
    const id = await tasks.addTask(tasks.task("task", () => Promise.reject(new Error("no"))));
    await tasks.work();
    await vi.waitFor(() => expect(update).toHaveBeenCalled(), PATIENT);
    await tasks.shutdown();
    expect(await other.tasks.cancel(id)).toBe(false);
    other.tasks.task("task", () => {});
    await other.tasks.work();
    const beside = await visitor();
    await vi.waitFor(async () => expect((await beside.findJobs(queue, { id }))[0]?.state).toBe("failed"), PATIENT);
  });

  test("of a task that gave up while it was looked for leaves nothing to cancel", async (context) => {
    const { manager } = openTasks(backend, context);
    const [{ tasks, boss }, other] = [manager(), manager()];
    const update = vi.fn((): Promise<never> => Promise.reject(new Error("connection lost")));
    boss.update = update;
    const id = await tasks.addTask(tasks.task("task", () => Promise.reject(new Error("no"))));
    const find = other.boss.findJobs.bind(other.boss);
    other.boss.findJobs = async <T>(...args: Parameters<typeof find>) => {
      other.boss.findJobs = find;
      const jobs = await find<T>(...args);
      await tasks.work();
      await vi.waitFor(() => expect(update).toHaveBeenCalled(), PATIENT);
      return jobs;
    };
    expect(await other.tasks.cancel(id)).toBe(false);
    expect(update).toHaveBeenCalled();
  });

  test("held up when a task gave up, leaves the rest to whoever has claimed it meanwhile", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks, boss } = manager();
    const beside = await visitor();
    const run = vi.fn(() => Promise.reject(new Error("no")));
    const id = await tasks.addTask(tasks.task("task", run));
    const update = boss.update.bind(boss);
    boss.update = async (...args: unknown[]) => {
      boss.update = update;
      await beside.fetch(queue, { ignoreStartAfter: true });
      return await update(...(args as Parameters<typeof update>));
    };
    await tasks.work();
    await vi.waitFor(async () => expect((await beside.findJobs(queue, { id }))[0]?.retryCount).toBe(1), PATIENT);
    await tasks.idle();
    expect(run).toHaveBeenCalledOnce();
    expect(await beside.findJobs(queue, { id })).toMatchObject([{ state: "active", output: { message: "no" } }]);
  });

  test("a task that gave up runs once more where someone retries it in pg-boss", async (context) => {
    const { manager, queue, visitor, named } = openTasks(backend, context);
    const { tasks } = manager();
    const run = vi.fn().mockRejectedValueOnce(new Error("no"));
    const id = await tasks.addTask(tasks.task("task", run));
    await tasks.work();
    await tasks.idle();
    await (await visitor()).retry(queue, id);
    await tasks.idle();
    expect(named("process task").map(({ attributes }) => attributes["task.outcome"])).toEqual(["failure", "success"]);
  });

  test("of a retry holds it back no more where someone has it start now in pg-boss", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks } = manager();
    const run = vi.fn().mockRejectedValueOnce(new Error("no"));
    const id = await tasks.addTask(tasks.task({ name: "task", retries: 1, delay: 60_000 }, run));
    await tasks.work();
    const beside = await visitor();
    const waits = async (): Promise<void> =>
      expect((await beside.findJobs(queue, { id }))[0]?.data).toHaveProperty("progress");
    await vi.waitFor(waits, PATIENT);
    await beside.update(queue, undefined, { id, startAfter: 0 });
    await vi.waitFor(() => expect(run).toHaveBeenCalledTimes(2), PATIENT);
  });

  test("of a retry that a shutdown cuts short keeps its number and its link", async (context) => {
    const { manager, named } = openTasks(backend, context);
    const [{ tasks }, other] = [manager(), manager()];
    const again = deferred();
    const task = tasks.task({ name: "task", retries: 1 }, async () => {
      if (getTaskContext()?.attempt === 0) throw new Error("no");
      again.resolve();
      await new Promise(() => {});
    });
    other.tasks.task({ name: "task", retries: 1 }, () => {});
    await tasks.addTask(task);
    await tasks.work();
    await again.promise;
    await tasks.shutdown({ timeout: 0 });
    await other.tasks.work();
    await vi.waitFor(() => expect(named("process task")).toHaveLength(3), PATIENT);
    const [first, , third] = named("process task");
    expect(third?.attributes).toMatchObject({ "task.attempt": 1, "task.outcome": "success" });
    expect(third && otherLinks(third)).toMatchObject([{ context: { spanId: first?.spanContext().spanId } }]);
  });

  test("of an attempt that was taken for lost leaves the one that runs now alone", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const gates = [deferred(), deferred()];
    const runs: unknown[] = [];
    const managers = [manager({ expireInSeconds: 1 }), manager({ expireInSeconds: 1 })] as const;
    const tasks = managers.map(({ tasks }) =>
      tasks.task({ name: "task", retries: 3 }, async () => {
        const gate = gates[runs.push(getTaskContext()?.attempt) - 1];
        await gate?.promise;
        if (gate === gates[0]) throw new Error("too late");
      }),
    );
    const id = await managers[0].tasks.addTask(tasks[0] as () => Promise<void>);
    await managers[0].tasks.work();
    await vi.waitFor(() => expect(runs).toEqual([0]), PATIENT);
    await managers[1].tasks.work();
    await vi.waitFor(() => expect(runs).toEqual([0, 0]), PATIENT);
    const failing = vi.spyOn(managers[0].boss, "fail");
    gates[0]?.resolve();
    await vi.waitFor(() => expect(failing.mock.settledResults[0]?.type).toBe("fulfilled"), PATIENT);
    const beside = await visitor();
    expect((await beside.findJobs(queue, { id }))[0]?.state).toBe("active");
    gates[1]?.resolve();
    await vi.waitFor(async () => expect((await beside.findJobs(queue, { id }))[0]?.state).toBe("completed"), PATIENT);
    expect(runs).toEqual([0, 0]);
  });

  test("is not held up by one lost sign of life: there are two before an attempt is taken for lost", async (context) => {
    const { tasks, boss } = openTasks(backend, context).manager({ heartbeatSeconds: 10 });
    const [touching, gate] = [vi.spyOn(boss, "touch"), deferred()];
    await tasks.addTask(tasks.task("long", () => gate.promise));
    await tasks.work();
    await vi.waitFor(() => expect(touching).toHaveBeenCalledTimes(2), { timeout: 9_500, interval: 50 });
    gate.resolve();
    await tasks.idle();
  });

  test("retries go on where pg-boss's own are used up", async (context) => {
    const { manager, queue, visitor, named } = openTasks(backend, context);
    const { tasks } = manager();
    const task = tasks.task({ name: "task", retries: 2 }, () => Promise.reject(new Error("no")));
    const id = await tasks.addTask(task);
    const beside = await visitor();
    await beside.update(queue, undefined, { id, retryLimit: 0 });
    await tasks.work();
    await tasks.idle();
    expect(named("process task").map(({ attributes }) => attributes["task.attempt"])).toEqual([0, 1, 2]);
    expect((await beside.findJobs(queue, { id }))[0]?.state).toBe("failed");
  });

  test("a task whose workers die again and again is never failed by pg-boss", async (context) => {
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks } = manager();
    const id = await tasks.addTask(tasks.task("task", () => {}));
    const beside = await visitor();
    for (let death = 0; death <= 12; death += 1) {
      await beside.fetch(queue, { ignoreStartAfter: true });
      // what pg-boss does to an attempt that gives no sign of life
      await beside.fail(queue, id, { value: { message: "job heartbeat timeout" } });
    }
    expect((await beside.findJobs(queue, { id }))[0]?.state).toBe("retry");
  });
}

/** The next call of this method fails, as it does when its connection is lost. */
function failOnce(boss: PgBoss, method: "update"): void {
  const original = boss[method].bind(boss);
  boss[method] = () => {
    boss[method] = original;
    return Promise.reject(new Error("connection lost"));
  };
}
