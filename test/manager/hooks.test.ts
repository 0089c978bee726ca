import { getTaskContext, type TaskManagerOptions, taskLog } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { createTasks, deferred } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

function recordHooks(): { calls: string[]; hooks: TaskManagerOptions } {
  const calls: string[] = [];
  const note = (name: string) => () => void calls.push(`${name} ${getTaskContext()?.attempt}`);
  return {
    calls,
    hooks: {
      onRetry: note("retry"),
      onSuccess: note("success"),
      onFailure: note("failure"),
      onCancel: note("cancel"),
    },
  };
}

describe("hooks", () => {
  test("tell retry, then failure apart; failure means giving up only", async () => {
    const { calls, hooks } = recordHooks();
    const tasks = createTasks(hooks);
    const task = tasks.task({ name: "doomed", retries: 2 }, () => Promise.reject(new Error("no")));
    await tasks.addTask(task);
    await tasks.idle();
    expect(calls).toEqual(["retry 0", "retry 1", "failure 2"]);
  });

  test("tell success after a retry", async () => {
    const { calls, hooks } = recordHooks();
    const tasks = createTasks(hooks);
    const task = tasks.task({ name: "flaky", retries: 2 }, () => {
      if (getTaskContext()?.attempt === 0) throw new Error("once");
    });
    await tasks.addTask(task);
    await tasks.idle();
    expect(calls).toEqual(["retry 0", "success 1"]);
  });

  test("run inside the task's span, and are no part of its duration", async () => {
    const telemetry = startTelemetry();
    const onSuccess = async (): Promise<void> => {
      taskLog("still on the span");
      await new Promise((resolve) => setTimeout(resolve, 60));
    };
    const tasks = createTasks({ onSuccess });
    await tasks.addTask(tasks.task("quick", () => {}));
    await tasks.idle();
    const span = telemetry.span("process quick");
    expect(span.events.map((event) => event.name)).toEqual(["still on the span"]);
    expect(span.duration[0] * 1000 + span.duration[1] / 1e6).toBeLessThan(50);
  });

  test("are awaited before the task counts as ended", async () => {
    const gate = deferred();
    const order: string[] = [];
    const onSuccess = async (): Promise<void> => {
      await gate.promise;
      order.push("hook done");
    };
    const tasks = createTasks({ onSuccess });
    await tasks.addTask(tasks.task("task", () => void order.push("task done")));
    const idle = tasks.idle().then(() => order.push("idle"));
    gate.resolve();
    await idle;
    expect(order).toEqual(["task done", "hook done", "idle"]);
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("hook broke");
      },
    ],
    ["rejects", () => Promise.reject(new Error("hook broke"))],
  ])("change nothing when one %s", async (_how, onRetry) => {
    const diag = collectDiag();
    const telemetry = startTelemetry();
    const tasks = createTasks({ onRetry });
    const task = tasks.task({ name: "flaky", retries: 1 }, () => {
      if (getTaskContext()?.attempt === 0) throw new Error("once");
    });
    await tasks.addTask(task);
    await tasks.idle();
    expect(telemetry.named("process flaky").map((span) => span.attributes["task.outcome"])).toEqual([
      "retry",
      "success",
    ]);
    expect(diag.some((line) => line.includes("hook broke"))).toBe(true);
  });

  test("tell a cancelled task that never ran", async () => {
    const { calls, hooks } = recordHooks();
    const tasks = createTasks(hooks);
    const id = await tasks.addTask(
      tasks.task("never", () => {}),
      [],
      { delay: 60_000 },
    );
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.idle();
    expect(calls).toEqual(["cancel 0"]);
  });
});
