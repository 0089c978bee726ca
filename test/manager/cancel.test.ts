import { DiagLogLevel } from "@opentelemetry/api";
import { getTaskContext, memoryEngine, TaskCancelledError, TaskTimeoutError } from "otel-taskflow";
import { describe, expect, test, vi } from "vitest";
import { createTasks, deferred } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

const hang = (): Promise<never> => new Promise(() => {});

describe("cancel", () => {
  test("stops a task that is queued", async () => {
    const tasks = createTasks();
    const run = vi.fn();
    const id = await tasks.addTask(tasks.task("queued", run));
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.idle();
    expect(run).not.toHaveBeenCalled();
  });

  test("stops a task that waits for its retry", async () => {
    const failed = deferred();
    const tasks = createTasks();
    const run = vi.fn(() => {
      failed.resolve();
      throw new Error("later");
    });
    const id = await tasks.addTask(tasks.task({ name: "waiting", retries: 3, delay: 60_000 }, run));
    await failed.promise;
    await new Promise((resolve) => setImmediate(resolve));
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.idle();
    expect(run).toHaveBeenCalledOnce();
  });

  test("aborts a running attempt: signal, span and slot at once", async () => {
    const telemetry = startTelemetry();
    const tasks = createTasks({ engine: memoryEngine({ concurrency: 1 }) });
    const started = deferred<AbortSignal | undefined>();
    const stuck = tasks.task({ name: "stuck", retries: 3 }, () => {
      started.resolve(getTaskContext()?.signal);
      return hang();
    });
    const id = await tasks.addTask(stuck);
    const signal = await started.promise;
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.addTask(tasks.task("next", () => {}));
    await tasks.idle();
    expect(signal?.reason).toBeInstanceOf(TaskCancelledError);
    const span = telemetry.span("process stuck");
    expect([span.attributes["task.outcome"], span.status.code, span.events]).toEqual(["cancelled", 0, []]);
    expect(telemetry.span("process next").attributes["task.outcome"]).toBe("success");
  });

  test("runs abort listeners inside the task they belong to", async () => {
    const tasks = createTasks();
    const started = deferred();
    const heard = deferred<string | undefined>();
    const task = tasks.task("listens", () => {
      getTaskContext()?.signal.addEventListener("abort", () => heard.resolve(getTaskContext()?.taskId));
      started.resolve();
      return hang();
    });
    const id = await tasks.addTask(task);
    await started.promise;
    await tasks.cancel(id);
    expect(await heard.promise).toBe(id);
  });

  test("has cancelled a task once where its abort listener cancels it as well", async () => {
    const told = vi.fn();
    const tasks = createTasks({ onCancel: told });
    const started = deferred();
    const heard = deferred<boolean>();
    const task = tasks.task("listens", () => {
      const { signal, taskId = "" } = getTaskContext() ?? {};
      signal?.addEventListener("abort", () => void tasks.cancel(taskId).then(heard.resolve));
      started.resolve();
      return hang();
    });
    const id = await tasks.addTask(task);
    await started.promise;
    expect(await tasks.cancel(id)).toBe(true);
    expect(await heard.promise).toBe(false);
    await tasks.idle();
    expect(told).toHaveBeenCalledOnce();
  });

  test("stops the retry of an attempt whose hook is still running", async () => {
    const gate = deferred();
    const inHook = deferred();
    const onRetry = async (): Promise<void> => {
      inHook.resolve();
      await gate.promise;
    };
    const cancelled: number[] = [];
    const tasks = createTasks({ onRetry, onCancel: ({ context }) => void cancelled.push(context.attempt) });
    const run = vi.fn(() => Promise.reject(new Error("again")));
    const id = await tasks.addTask(tasks.task({ name: "hooked", retries: 3 }, run));
    await inHook.promise;
    expect(await tasks.cancel(id)).toBe(true);
    gate.resolve();
    await tasks.idle();
    expect([run.mock.calls.length, cancelled]).toEqual([1, [1]]);
  });

  test("aborts a task that cancels itself, before its first await too", async () => {
    const outcomes: unknown[] = [];
    const tasks = createTasks({
      onCancel: () => void outcomes.push("cancelled"),
      onSuccess: () => void outcomes.push("success"),
    });
    const task = tasks.task("suicidal", async () => {
      const { taskId, signal } = getTaskContext() ?? {};
      outcomes.push(await tasks.cancel(taskId ?? ""), signal?.aborted);
    });
    await tasks.addTask(task);
    await tasks.idle();
    expect(outcomes.toSorted()).toEqual(["cancelled", true, true].toSorted());
  });

  test.each([0, 1, 2, 3, 4, 5])(
    "never says true of a task that succeeded, %i microtasks after its end",
    async (gap) => {
      const ended: string[] = [];
      const tasks = createTasks();
      const gate = deferred();
      const started = deferred();
      const id = await tasks.addTask(
        tasks.task("close-call", async () => {
          started.resolve();
          await gate.promise;
          ended.push("returned");
        }),
      );
      await started.promise;
      gate.resolve();
      for (let microtask = 0; microtask < gap; microtask += 1) await null;
      const cancelled = await tasks.cancel(id);
      const again = await tasks.cancel(id);
      expect([cancelled, again]).toEqual([cancelled && gap <= 2, false]);
    },
  );

  test("frees the id at once, while its hook still runs", async () => {
    const gate = deferred();
    const started = deferred();
    const runs: string[] = [];
    const tasks = createTasks({ onCancel: () => gate.promise });
    const task = tasks.task("again", (run: string) => {
      runs.push(run);
      started.resolve();
      return run === "first" ? hang() : undefined;
    });
    await tasks.addTask(task, ["first"], { taskId: "x" });
    await started.promise;
    expect(await tasks.cancel("x")).toBe(true);
    await tasks.addTask(task, ["second"], { taskId: "x" });
    gate.resolve();
    await tasks.idle();
    expect(runs).toEqual(["first", "second"]);
  });

  test("is waited for by shutdown until its hook is done", async () => {
    const calls: string[] = [];
    const onCancel = async (): Promise<void> => {
      calls.push("started");
      await new Promise((resolve) => setTimeout(resolve, 5));
      calls.push("done");
    };
    const tasks = createTasks({ onCancel });
    await tasks.cancel(
      await tasks.addTask(
        tasks.task("later", () => {}),
        [],
        { delay: 60_000 },
      ),
    );
    await tasks.shutdown();
    expect(calls).toEqual(["started", "done"]);
  });

  test("is false for a task that is unknown or has ended, whatever the id", async () => {
    const tasks = createTasks();
    const id = await tasks.addTask(tasks.task("done", () => {}));
    await tasks.idle();
    expect([await tasks.cancel(id), await tasks.cancel("nobody"), await tasks.cancel(JSON.parse("null"))]).toEqual([
      ...[false, false, false],
    ]);
  });
});

describe("timeout", () => {
  test("aborts the signal, frees the slot, and retries", async () => {
    const tasks = createTasks({ engine: memoryEngine({ concurrency: 1 }) });
    const reasons: unknown[] = [];
    const task = tasks.task({ name: "slow", timeout: 10, retries: 1 }, () => {
      const { attempt, signal } = getTaskContext() ?? {};
      if (attempt === 1) return undefined;
      signal?.addEventListener("abort", () => reasons.push(signal.reason));
      return hang();
    });
    await tasks.addTask(task);
    await tasks.idle();
    expect(reasons).toEqual([expect.any(TaskTimeoutError)]);
  });

  test("shows its reason to a signal that is first read after it", async () => {
    const tasks = createTasks();
    const release = deferred();
    const late = deferred<unknown>();
    const task = tasks.task({ name: "slow", timeout: 5 }, async () => {
      await release.promise;
      late.resolve(getTaskContext()?.signal.reason);
    });
    await tasks.addTask(task);
    await tasks.idle();
    release.resolve();
    expect(await late.promise).toBeInstanceOf(TaskTimeoutError);
  });

  test("wins over a later error, which goes to diag only", async () => {
    const diag = collectDiag(DiagLogLevel.DEBUG);
    const telemetry = startTelemetry();
    const tasks = createTasks();
    const release = deferred();
    const task = tasks.task({ name: "slow", timeout: 5 }, () => release.promise);
    await tasks.addTask(task);
    await tasks.idle();
    release.reject(new Error("much later"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(telemetry.span("process slow").attributes["error.type"]).toBe("TaskTimeoutError");
    expect(diag.some((line) => line.includes("went on after its attempt had ended"))).toBe(true);
  });

  test("does not fire after success", async () => {
    const tasks = createTasks();
    const seen = deferred<AbortSignal | undefined>();
    await tasks.addTask(tasks.task({ name: "quick", timeout: 5 }, () => seen.resolve(getTaskContext()?.signal)));
    const signal = await seen.promise;
    await new Promise((resolve) => setTimeout(resolve, 15));
    expect(signal?.aborted).toBe(false);
  });
});
