import { describe, expect, onTestFinished, test, vi } from "vitest";
import { scriptedEngine } from "../support/scripted-engine.js";
import { createTasks, deferred } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

const hang = (): Promise<never> => new Promise(() => {});
const fail = (): Promise<never> => Promise.reject(new Error("again"));

describe("where somebody else has the task by now", () => {
  test("a cancelled retry is told when it is taken out of the store, and not before", async () => {
    const [inHook, gate] = [deferred(), deferred()];
    const told = vi.fn();
    const waiting: string[] = [];
    const engine = scriptedEngine({
      take: () => (waiting.pop() === "x" ? engine.delivery("fails", "x", { attempt: 1 }) : undefined),
    });
    const onRetry = async (): Promise<void> => {
      inHook.resolve();
      await gate.promise;
    };
    const tasks = createTasks({ engine, onRetry, onCancel: ({ context }) => void told(context.attempt) });
    tasks.task({ name: "fails", retries: 2 }, fail);
    const over = engine.run("fails", "x", () => {
      waiting.push("x");
      return "lost";
    });
    await inHook.promise;
    expect(await tasks.cancel("x")).toBe(true);
    gate.resolve();
    await over;
    await tasks.idle();
    expect(told.mock.calls).toEqual([[1]]);
  });

  test("a cancelled retry that stays in the store is not told", async () => {
    const [inHook, gate] = [deferred(), deferred()];
    const told = vi.fn();
    const engine = scriptedEngine();
    const onRetry = async (): Promise<void> => {
      inHook.resolve();
      await gate.promise;
    };
    const tasks = createTasks({ engine, onRetry, onCancel: told });
    tasks.task({ name: "fails", retries: 2 }, fail);
    const over = engine.run("fails", "x", async () => "lost" as const);
    await inHook.promise;
    expect(await tasks.cancel("x")).toBe(false);
    gate.resolve();
    await over;
    await tasks.idle();
    expect(told).not.toHaveBeenCalled();
  });
});

test("a shutdown ends the span and tells of a cancelled attempt whose store gives no answer", async () => {
  const telemetry = startTelemetry();
  const engine = scriptedEngine();
  const told = vi.fn();
  const tasks = createTasks({ engine, onCancel: told });
  const started = deferred();
  tasks.task("stuck", () => {
    started.resolve();
    return hang();
  });
  void engine.run("stuck", "x", hang);
  await started.promise;
  const answer = tasks.cancel("x");
  await tasks.shutdown({ timeout: 5 });
  expect(telemetry.span("process stuck").attributes["task.outcome"]).toBe("cancelled");
  expect(told).toHaveBeenCalledOnce();
  expect(await answer).toBe(false);
});

describe("a store that is slow to give up a task", () => {
  test("is waited for by a cancel for ten seconds, and by the next one too", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const tasks = createTasks({ engine: scriptedEngine({ take: hang }) });
    const answers = Promise.all([tasks.cancel("x"), tasks.cancel("x")]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(await answers).toEqual([false, false]);
    vi.useRealTimers(); // for the shutdown, which gives up what still waits
  });

  test("has its task told before idle() resolves", async () => {
    const order: string[] = [];
    const taken = deferred();
    const engine = scriptedEngine({ take: () => taken.promise.then(() => engine.delivery("task", "x")) });
    const tasks = createTasks({ engine, onCancel: () => void order.push("told") });
    const cancelled = tasks.cancel("x").then((answer) => order.push(`cancelled: ${answer}`));
    const idle = tasks.idle().then(() => order.push("idle"));
    setTimeout(taken.resolve, 200);
    await Promise.all([cancelled, idle]);
    expect(order).toEqual(["told", "cancelled: true", "idle"]);
  });
});

describe("where a task is here twice", () => {
  test("idle() inside the older of two deliveries does not wait for itself", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    const gate = deferred();
    const order: string[] = [];
    tasks.task("task", async () => {
      order.push("started");
      if (order.length === 2) return;
      await gate.promise;
      await tasks.idle();
      order.push("idle");
    });
    const older = engine.run("task", "x", () => {});
    const younger = engine.run("task", "x", () => {});
    gate.resolve();
    await Promise.all([older, younger]);
    expect(order).toEqual(["started", "started", "idle"]);
  });

  test("cancel() reaches the older of two deliveries when the younger has gone", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    const run = vi.fn(async () => {});
    run.mockImplementationOnce(hang);
    tasks.task("task", run);
    expect(await tasks.cancel("x")).toBe(false);
    const older = engine.run("task", "x", () => {});
    await engine.run("task", "x", () => {});
    expect(await tasks.cancel("x")).toBe(true);
    await older;
  });

  test("idle() inside the hook of a cancelled task does not wait for it, where its id was taken again", async () => {
    const [started, hook, gate] = [deferred(), deferred(), deferred()];
    const order: string[] = [];
    const onCancel = async (): Promise<void> => {
      await hook.promise;
      await tasks.idle();
      order.push("idle");
    };
    const tasks = createTasks({ onCancel });
    const task = tasks.task("task", async (run: string) => {
      started.resolve();
      await gate.promise;
      order.push(run);
    });
    await tasks.addTask(task, ["first"], { taskId: "x" });
    await started.promise;
    expect(await tasks.cancel("x")).toBe(true);
    await tasks.addTask(task, ["second"], { taskId: "x" });
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    hook.resolve();
    setImmediate(gate.resolve);
    await tasks.idle();
    expect(order).toEqual(["first", "second", "idle"]);
  });
});

describe("idle()", () => {
  test("resolves when the manager has shut down, though the end of a task was never stored", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    tasks.task("task", () => {});
    void engine.run("task", "x", hang);
    const idle = tasks.idle();
    await tasks.shutdown({ timeout: 5 });
    await idle;
  });

  test("looks again where an engine in this process could not say what waits", async () => {
    const answers = [new Error("busy")];
    const waiting = (): number => {
      const error = answers.pop();
      if (error !== undefined) throw error;
      return 0;
    };
    await createTasks({ engine: scriptedEngine({ waiting }, false) }).idle();
    expect(answers).toEqual([]);
  });
});
