import {
  getTaskContext,
  isTaskManagerClosedError,
  memoryEngine,
  type OpenEngine,
  TaskCancelledError,
  type TaskEngine,
  TaskManager,
} from "otel-taskflow";
import { describe, expect, test, vi } from "vitest";
import { deferred } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

const hang = (): Promise<never> => new Promise(() => {});

/** A task named "fails" that waits for its retry in an `onRetry` that never ends, and what `onCancel` was told. */
async function hangingRetry(): Promise<{ tasks: TaskManager; taskId: string; told: string[] }> {
  const inHook = deferred();
  const told: string[] = [];
  const onRetry = (): Promise<never> => {
    inHook.resolve();
    return hang();
  };
  const tasks = new TaskManager({ onRetry, onCancel: ({ error }) => void told.push(String(error)) });
  const fails = tasks.task({ name: "fails", retries: 1 }, () => Promise.reject(new Error("again")));
  const taskId = await tasks.addTask(fails);
  await inHook.promise;
  return { tasks, taskId, told };
}

describe("shutdown", () => {
  test("lets everything end: running, queued, delayed, and retries", async () => {
    const tasks = new TaskManager({ engine: memoryEngine({ concurrency: 1 }) });
    const run = vi.fn();
    const plain = tasks.task("plain", run);
    const flaky = tasks.task({ name: "flaky", retries: 1, delay: 5 }, () => Promise.reject(new Error("no")));
    await tasks.addTask(plain);
    await tasks.addTask(plain, [], { delay: 10 });
    await tasks.addTask(flaky);
    expect(await tasks.shutdown()).toEqual({ completed: 3, abandoned: [] });
    expect(run).toHaveBeenCalledTimes(2);
  });

  test("refuses new tasks from its call on", async () => {
    const tasks = new TaskManager();
    const task = tasks.task("task", () => {});
    const stopping = tasks.shutdown();
    await expect(tasks.addTask(task)).rejects.toSatisfy(isTaskManagerClosedError);
    await stopping;
    await expect(tasks.addTask(task)).rejects.toMatchObject({ code: "TASK_MANAGER_CLOSED" });
  });

  test("names every task it leaves behind, with its state", async () => {
    const tasks = new TaskManager({ engine: memoryEngine({ concurrency: 1 }) });
    const failed = deferred();
    const failing = tasks.task({ name: "failing", retries: 1, delay: 60_000 }, () => {
      failed.resolve();
      throw new Error("later");
    });
    const stuck = tasks.task("stuck", hang);
    const waiting = await tasks.addTask(failing);
    await failed.promise;
    const running = await tasks.addTask(stuck);
    const queued = await tasks.addTask(stuck);
    expect(await tasks.shutdown({ timeout: 20 })).toEqual({
      completed: 0,
      abandoned: [
        { taskId: running, funcName: "stuck", state: "active" },
        { taskId: waiting, funcName: "failing", state: "delayed" },
        { taskId: queued, funcName: "stuck", state: "ready" },
      ],
    });
  });

  test("aborts what is left past the deadline, and ends every span before it resolves", async () => {
    const telemetry = startTelemetry();
    const tasks = new TaskManager({ onCancel: hang });
    const started = deferred();
    const stuck = tasks.task("stuck", () => {
      started.resolve();
      return hang();
    });
    await tasks.addTask(stuck);
    await started.promise;
    await tasks.shutdown({ timeout: 5 });
    expect(telemetry.span("process stuck").attributes["task.outcome"]).toBe("cancelled");
  });

  test("does not wait for hooks past the deadline, nor change an outcome", async () => {
    const telemetry = startTelemetry();
    const inHook = deferred();
    const onSuccess = (): Promise<never> => {
      inHook.resolve();
      return hang();
    };
    const tasks = new TaskManager({ onSuccess });
    await tasks.addTask(tasks.task("done", () => {}));
    await inHook.promise;
    expect(await tasks.shutdown({ timeout: 5 })).toEqual({ completed: 1, abandoned: [] });
    expect(telemetry.span("process done").attributes["task.outcome"]).toBe("success");
  });

  test("names a task whose retry it cuts off, and tells that it was shut down", async () => {
    const { tasks, taskId, told } = await hangingRetry();
    const abandoned = [{ taskId, funcName: "fails", state: "delayed" }];
    expect(await tasks.shutdown({ timeout: 5 })).toEqual({ completed: 0, abandoned });
    expect(told).toEqual([expect.stringContaining("shut down")]);
  });

  test("neither names nor tells of a task whose retry was cancelled before", async () => {
    const { tasks, taskId, told } = await hangingRetry();
    expect(await tasks.cancel(taskId)).toBe(true);
    expect(await tasks.shutdown({ timeout: 5 })).toEqual({ completed: 0, abandoned: [] });
    expect(told).toEqual([expect.stringContaining("was cancelled")]);
  });

  test("does not wait past the deadline for the hook of a task that was cancelled while it waited", async () => {
    const tasks = new TaskManager({ onCancel: hang });
    const later = tasks.task("later", () => {});
    expect(await tasks.cancel(await tasks.addTask(later, [], { delay: 60_000 }))).toBe(true);
    const late = new Promise((resolve) => setTimeout(resolve, 3_000, "late").unref());
    expect(await Promise.race([tasks.shutdown({ timeout: 5 }), late])).toEqual({ completed: 0, abandoned: [] });
  });

  test("tells a task by its signal", async () => {
    const tasks = new TaskManager();
    const reason = deferred<unknown>();
    const task = tasks.task("task", () => {
      const signal = getTaskContext()?.signal;
      signal?.addEventListener("abort", () => reason.resolve(signal.reason));
      return hang();
    });
    await tasks.addTask(task);
    await new Promise((resolve) => setImmediate(resolve));
    await tasks.shutdown({ timeout: 5 });
    expect(await reason.promise).toBeInstanceOf(TaskCancelledError);
  });

  test("is one, however often it is called", async () => {
    const tasks = new TaskManager();
    await tasks.addTask(tasks.task("task", () => {}));
    const reports = await Promise.all([tasks.shutdown(), tasks.shutdown(), tasks.shutdown()]);
    expect(reports).toEqual(Array.from({ length: 3 }, () => ({ completed: 1, abandoned: [] })));
  });

  test("happens at the end of an await using block", async () => {
    const run = vi.fn();
    {
      await using tasks = new TaskManager();
      await tasks.addTask(tasks.task("task", run));
    }
    expect(run).toHaveBeenCalledOnce();
  });

  describe("of an engine that goes wrong", () => {
    const engine = (parts: Partial<OpenEngine>): TaskEngine => {
      const works = { enqueue: () => true, work: () => {}, take: () => undefined, waiting: () => 0 };
      const ends = { quiesce: () => [], close: () => {} };
      const capabilities = { durable: false, granularity: 0 };
      return { name: "broken", capabilities, open: () => ({ ...works, ...ends, ...parts }) };
    };

    test("closes it even when it cannot be drained", async () => {
      const close = vi.fn();
      const tasks = new TaskManager({ engine: engine({ quiesce: () => Promise.reject(new Error("gone")), close }) });
      expect(await tasks.shutdown()).toEqual({ completed: 0, abandoned: [] });
      expect(close).toHaveBeenCalledOnce();
    });

    test("waits for a task that is just being accepted", async () => {
      const order: string[] = [];
      const accepted = deferred<boolean>();
      const enqueue = (): Promise<boolean> => accepted.promise.finally(() => order.push("accepted"));
      const tasks = new TaskManager({ engine: engine({ enqueue, close: () => void order.push("closed") }) });
      const adding = tasks.addTask(tasks.task("task", () => {}));
      const stopping = tasks.shutdown();
      accepted.resolve(true);
      await Promise.all([adding, stopping]);
      expect(order).toEqual(["accepted", "closed"]);
    });
  });

  test("refuses a timeout out of range", async () => {
    await expect(new TaskManager().shutdown({ timeout: -1 })).rejects.toThrow(/timeout: .*-1/);
  });
});
