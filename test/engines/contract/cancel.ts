import { getTaskContext } from "otel-taskflow";
import { describe, expect, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import type { Contract } from "./case.js";

const hang = (): Promise<never> => new Promise(() => {});

export function cancelCases({ test, durable }: Contract): void {
  describe("cancel", () => {
    test("stops a task that is queued, once", async ({ rig }) => {
      const tasks = rig.manager();
      const run = vi.fn();
      const task = tasks.task("queued", run);
      const id = await tasks.addTask(task);
      expect(await tasks.cancel(id)).toBe(true);
      expect(await tasks.cancel(id)).toBe(false);
      await rig.finish(tasks);
      expect(run).not.toHaveBeenCalled();
    });

    test("stops a task that is delayed, and frees its id", async ({ rig }) => {
      const tasks = rig.manager();
      const run = vi.fn();
      const task = tasks.task("delayed", run);
      await tasks.work();
      const id = await tasks.addTask(task, [], { delay: 60_000, taskId: "order-7" });
      expect(await tasks.cancel(id)).toBe(true);
      await tasks.idle();
      expect(run).not.toHaveBeenCalled();
      await tasks.addTask(task, [], { taskId: "order-7" });
      await tasks.idle();
      expect(run).toHaveBeenCalledOnce();
    });

    test("stops a task that is queued behind a running one", async ({ rig }) => {
      const tasks = rig.manager({ concurrency: 1 });
      const [started, gate] = [deferred(), deferred()];
      const busy = tasks.task("busy", () => {
        started.resolve();
        return gate.promise;
      });
      const run = vi.fn();
      const task = tasks.task("behind", run);
      await tasks.addTask(busy);
      await tasks.work();
      await started.promise;
      const ids = [await tasks.addTask(task), await tasks.addTask(task)];
      const cancelled = await Promise.all(ids.map((id) => tasks.cancel(id)));
      gate.resolve();
      await tasks.idle();
      expect([run.mock.calls.length, cancelled]).toEqual([0, [true, true]]);
    });

    test("stops a task that waits for its retry", async ({ rig }) => {
      const cancelled: number[] = [];
      const tasks = rig.manager({ onCancel: ({ context }) => void cancelled.push(context.attempt) });
      const run = vi.fn(() => Promise.reject(new Error("later")));
      const id = await tasks.addTask(tasks.task({ name: "waiting", retries: 3, delay: 60_000 }, run));
      await tasks.work();
      await rig.ended("process waiting");
      await vi.waitFor(async () => expect(await rig.store.stateOf(id)).not.toBe("running"), 5_000);
      expect(await tasks.cancel(id)).toBe(true);
      await tasks.idle();
      expect([run.mock.calls.length, cancelled]).toEqual([1, [1]]);
    });

    test("stops the retry of an attempt whose hook is still running", async ({ rig }) => {
      const [inHook, gate] = [deferred(), deferred()];
      const onRetry = (): Promise<void> => {
        inHook.resolve();
        return gate.promise;
      };
      const cancelled: number[] = [];
      const tasks = rig.manager({ onRetry, onCancel: ({ context }) => void cancelled.push(context.attempt) });
      const run = vi.fn(() => Promise.reject(new Error("again")));
      const id = await tasks.addTask(tasks.task({ name: "hooked", retries: 3 }, run));
      await tasks.work();
      await inHook.promise;
      expect(await tasks.cancel(id)).toBe(true);
      gate.resolve();
      await tasks.idle();
      expect([run.mock.calls.length, cancelled]).toEqual([1, [1]]);
    });

    test("aborts a running attempt at once: its signal, span and slot", async ({ rig }) => {
      const cancelled: unknown[] = [];
      const tasks = rig.manager({ concurrency: 1, onCancel: ({ context }) => void cancelled.push(context.attempt) });
      const started = deferred<AbortSignal | undefined>();
      const stuck = tasks.task({ name: "stuck", retries: 3 }, () => {
        started.resolve(getTaskContext()?.signal);
        return hang();
      });
      const next = tasks.task("next", () => {});
      await tasks.work();
      const id = await tasks.addTask(stuck);
      const signal = await started.promise;
      expect(await tasks.cancel(id)).toBe(true);
      expect(signal?.reason).toMatchObject({ code: "TASK_CANCELLED" });
      await tasks.addTask(next);
      await tasks.idle();
      const span = rig.span("process stuck");
      expect([span.attributes["task.outcome"], span.status.code, span.events]).toEqual(["cancelled", 0, []]);
      expect([rig.named("process next").length, cancelled]).toEqual([1, [0]]);
      expect(["failed", undefined]).toContain(await rig.store.stateOf(id));
    });

    test("frees the id of the running task it aborts", async ({ rig }) => {
      const tasks = rig.manager();
      const started = deferred();
      const run = vi.fn(() => {
        started.resolve();
        return run.mock.calls.length === 1 ? hang() : undefined;
      });
      const task = tasks.task("task", run);
      await tasks.addTask(task, [], { taskId: "order-7" });
      await tasks.work();
      await started.promise;
      expect(await tasks.cancel("order-7")).toBe(true);
      await tasks.idle();
      await tasks.addTask(task, [], { taskId: "order-7" });
      await tasks.idle();
      expect(run).toHaveBeenCalledTimes(2);
    });

    test("is false of a task that is unknown, has succeeded or has given up", async ({ rig }) => {
      const tasks = rig.manager();
      const done = await tasks.addTask(tasks.task("works", () => {}));
      const failed = await tasks.addTask(tasks.task("fails", () => Promise.reject(new Error("no"))));
      await rig.finish(tasks);
      const ids = [done, failed, "nobody", crypto.randomUUID(), ""];
      expect(await Promise.all(ids.map((id) => tasks.cancel(id)))).toEqual(ids.map(() => false));
      await tasks.shutdown();
      expect(await tasks.cancel("nobody")).toBe(false);
    });

    durable("reaches a task that waits, from any process", async ({ rig }) => {
      const [tasks, others] = [rig.manager(), rig.manager()];
      const run = vi.fn();
      const ids = [await tasks.addTask(tasks.task("task", run)), await tasks.addTask(run, [], { delay: 60_000 })];
      others.task("task", run);
      expect(await Promise.all(ids.map((id) => others.cancel(id)))).toEqual([true, true]);
      await rig.finish(tasks);
      expect(run).not.toHaveBeenCalled();
    });

    durable("is false of a task that runs in another process, and lets it end", async ({ rig }) => {
      const [tasks, others] = [rig.manager(), rig.manager()];
      const [started, gate] = [deferred(), deferred()];
      const task = tasks.task("task", () => {
        started.resolve();
        return gate.promise;
      });
      const id = await tasks.addTask(task);
      await tasks.work();
      await started.promise;
      expect([await others.cancel(id), await rig.store.stateOf(id)]).toEqual([false, "running"]);
      gate.resolve();
      await tasks.idle();
      expect(rig.span("process task").attributes["task.outcome"]).toBe("success");
    });
  });
}
