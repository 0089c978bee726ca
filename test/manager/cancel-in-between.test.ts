import { isTaskCancelledError, type Settlement } from "otel-taskflow";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { scriptedEngine } from "../support/scripted-engine.js";
import { createTasks, deferred } from "../support/tasks.js";
import { collectDiag } from "../support/telemetry.js";

const hang = (): Promise<never> => new Promise(() => {});

describe("a cancel finds a task that is on its way", () => {
  test("and starts here while the store is looked at", async () => {
    const ends: Settlement[] = [];
    const engine = scriptedEngine({
      take: async () => {
        void engine.run("task", "x", (end) => void ends.push(end));
        return undefined;
      },
    });
    const tasks = createTasks({ engine });
    tasks.task("task", hang);
    expect(await tasks.cancel("x")).toBe(true);
    expect(ends).toEqual([{ outcome: "cancelled", error: expect.toSatisfy(isTaskCancelledError) }]);
  });

  test("and gives up where somebody runs it again and again", async () => {
    const take = vi.fn(async () => {
      void engine.run("task", "x", () => "lost");
      return undefined;
    });
    const engine = scriptedEngine({ take });
    const tasks = createTasks({ engine });
    tasks.task("task", hang);
    expect(await tasks.cancel("x")).toBe(false);
    expect(take).toHaveBeenCalledTimes(4);
  });

  test("and waits in the store when it has been given back", async () => {
    const stored = deferred();
    const engine = scriptedEngine({ take: (id) => engine.delivery("unknown", id) });
    const tasks = createTasks({ engine });
    const run = engine.run("unknown", "x", () => stored.promise);
    const cancelled = tasks.cancel("x");
    stored.resolve();
    expect(await cancelled).toBe(true);
    await run;
  });
});

describe("a cancel is false", () => {
  test("of a task that nobody has: the store is asked once, and diag is told nothing", async () => {
    const diag = collectDiag();
    const take = vi.fn(async () => undefined);
    expect(await createTasks().cancel("nobody")).toBe(false);
    expect(await createTasks({ engine: scriptedEngine({ take }) }).cancel("nobody")).toBe(false);
    expect(take).toHaveBeenCalledOnce();
    expect(diag).toEqual([]);
  });

  test("where the store has not taken the end after five seconds", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    tasks.task("task", hang);
    void engine.run("task", "x", hang);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const cancelled = tasks.cancel("x");
    await vi.advanceTimersByTimeAsync(4_900);
    const early = await Promise.race([cancelled, "not yet"]);
    await vi.advanceTimersByTimeAsync(200);
    expect([early, await cancelled]).toEqual(["not yet", false]);
  });

  test("where the store has failed for more than a minute, and is not asked again", async () => {
    const now = vi.spyOn(performance, "now");
    onTestFinished(() => now.mockRestore());
    const take = vi.fn(async () => {
      // the second try comes too late
      if (take.mock.calls.length === 2) now.mockReturnValue(performance.now() + 60_001);
      throw new Error("no connection");
    });
    const tasks = createTasks({ engine: scriptedEngine({ take }) });
    expect(await tasks.cancel("x")).toBe(false);
    expect(take).toHaveBeenCalledTimes(2);
  });
});

test("a cancel is true of a task whose cancelled end a shutdown is storing", async () => {
  const engine = scriptedEngine({}, false);
  const tasks = createTasks({ engine });
  tasks.task("task", hang);
  const [storing, stored] = [deferred(), deferred()];
  void engine.run("task", "x", () => {
    storing.resolve();
    return stored.promise;
  });
  const shutdown = tasks.shutdown({ timeout: 0 });
  await storing.promise;
  const cancelled = tasks.cancel("x");
  stored.resolve();
  expect(await cancelled).toBe(true);
  await shutdown;
});

test("a cancel by the task's own retryIf is its one end", async () => {
  const told: string[] = [];
  const hook = (name: string) => (): void => void told.push(name);
  const tasks = createTasks({ onRetry: hook("retry"), onCancel: hook("cancel"), onFailure: hook("failure") });
  const ids: string[] = [];
  const answers: Promise<boolean>[] = [];
  const retryIf = (): boolean => answers.push(tasks.cancel(ids[0] ?? "")) > 0;
  const task = tasks.task({ name: "task", retries: 3, retryIf }, () => Promise.reject(new Error("no")));
  ids.push(await tasks.addTask(task));
  await tasks.idle();
  expect([told, await Promise.all(answers)]).toEqual([["cancel"], [true]]);
});

test("those who cancel one task ask the store one after the other, whenever they come", async () => {
  const order: string[] = [];
  const take = async (): Promise<undefined> => {
    order.push("asked");
    await new Promise((resolve) => setTimeout(resolve));
    order.push("answered");
  };
  const tasks = createTasks({ engine: scriptedEngine({ take }) });
  const [first, second] = [tasks.cancel("x"), tasks.cancel("x")];
  await first;
  await Promise.all([second, tasks.cancel("x")]);
  expect(order).toEqual(Array(3).fill(["asked", "answered"]).flat());
});
