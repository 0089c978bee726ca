import {
  type EngineHost,
  isTaskLostError,
  isTaskStoreError,
  type Settlement,
  type StoreEnd,
  type TaskEngine,
  type TaskNotice,
} from "otel-taskflow";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { scriptedEngine } from "../support/scripted-engine.js";
import { createTasks, deferred } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

const hang = (): Promise<never> => new Promise(() => {});
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const LOST = { redelivered: true };

/** Stores an end when it has failed so many times; keeps all that it was given. */
function failing(times: number): { readonly given: Settlement[]; readonly store: StoreEnd } {
  const given: Settlement[] = [];
  const store = async (end: Settlement): Promise<void> => {
    given.push(end);
    if (given.length <= times) throw new Error("no connection");
  };
  return { given, store };
}

function useFakeTimers(...more: "performance"[]): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", ...more] });
  onTestFinished(() => void vi.useRealTimers());
}

describe("an end that a store does not take", () => {
  test("is stored again until the store has it, and told once", async () => {
    const engine = scriptedEngine();
    const told = vi.fn();
    const tasks = createTasks({ engine, onSuccess: told });
    tasks.task("task", () => {});
    const { given, store } = failing(3);
    await engine.run("task", "x", store);
    expect(given).toEqual(Array(4).fill({ outcome: "success" }));
    expect(told).toHaveBeenCalledOnce();
  });

  test("is stored again where the store throws at once", async () => {
    const engine = scriptedEngine();
    createTasks({ engine }).task("task", () => {});
    let tries = 0;
    await engine.run("task", "x", () => {
      tries += 1;
      if (tries === 1) throw new Error("no connection");
    });
    expect(tries).toBe(2);
  });

  test("keeps the time of the next attempt", async () => {
    const engine = scriptedEngine();
    createTasks({ engine }).task({ name: "task", retries: 1, delay: 10_000 }, () => Promise.reject(new Error("no")));
    const { given, store } = failing(2);
    await engine.run("task", "x", store);
    const delays = given.map((end) => (end.outcome === "retry" ? end.delay : Number.NaN));
    expect(delays[0]).toBe(10_000);
    // each try came later, and leaves that much less to wait
    expect(delays[2]).toBeLessThanOrEqual(10_000 - 250);
    expect(delays[2]).toBeGreaterThan(0);
  });

  test("is waited for by idle()", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    tasks.task("task", () => {});
    const { given, store } = failing(1);
    void engine.run("task", "x", store);
    await tasks.idle();
    expect(given).toHaveLength(2);
  });

  test("is told to diag at the first try alone", async () => {
    const diag = collectDiag();
    const engine = scriptedEngine();
    createTasks({ engine }).task("task", () => {});
    await engine.run("task", "x", failing(3).store);
    expect(diag.filter((line) => line.includes("the end of task x"))).toHaveLength(1);
  });

  test("is not stored again when the store says that somebody else has the task", async () => {
    const engine = scriptedEngine();
    createTasks({ engine }).task("task", () => {});
    const store = vi.fn((): "lost" => "lost");
    await engine.run("task", "x", store);
    await pause(300);
    expect(store).toHaveBeenCalledOnce();
  });

  test("is not tried any more after a shutdown, which does not wait for it", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    tasks.task("task", () => {});
    const { given, store } = failing(Number.POSITIVE_INFINITY);
    const over = engine.run("task", "x", store);
    await tasks.shutdown({ timeout: 50 });
    await over;
    const tries = given.length;
    await pause(2_500);
    expect(given).toHaveLength(tries);
  });

  test("makes cancel() true when it is stored in the end", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    tasks.task("task", hang);
    const { given, store } = failing(2);
    const over = engine.run("task", "x", store);
    expect(await tasks.cancel("x")).toBe(true);
    await over;
    expect(given.map(({ outcome }) => outcome)).toEqual(Array(3).fill("cancelled"));
  });
});

test("an engine without overStore has its ends stored once: what it refuses is told, and will run again", async () => {
  const diag = collectDiag();
  let own: EngineHost | undefined;
  const engine: TaskEngine = {
    ...scriptedEngine(),
    open(host) {
      own = host;
      const works = { enqueue: () => true, work: () => {}, take: () => undefined, waiting: () => 0 };
      return { ...works, quiesce: () => [], close: () => {} };
    },
  };
  const tasks = createTasks({ engine });
  tasks.task("task", () => {});
  const origin = own?.receive({ id: "x", name: "task", carrier: undefined });
  if (origin === undefined) throw new Error("the engine has no host");
  const delivery = { origin, args: [], attempt: 0, dueAt: undefined, redelivered: false, previous: undefined };
  const { given, store } = failing(1);
  await own?.run(delivery, store);
  await tasks.idle();
  expect(given).toEqual([{ outcome: "success" }]);
  expect(diag.filter((line) => line.includes("the end of task x is not stored"))).toHaveLength(1);
});

describe("a run that the store takes for lost", () => {
  test("is not repeated while it goes on; its end is stored for both deliveries", async () => {
    const engine = scriptedEngine();
    const [gate, told] = [deferred(), vi.fn()];
    const run = vi.fn(() => gate.promise);
    createTasks({ engine, onSuccess: told }).task("task", run);
    const [first, second] = [vi.fn((): "lost" => "lost"), vi.fn()];
    const over = [engine.run("task", "x", first), engine.run("task", "x", second, LOST)];
    gate.resolve();
    await Promise.all(over);
    expect(first.mock.calls).toEqual([[{ outcome: "success" }]]);
    expect(second.mock.calls).toEqual([[{ outcome: "success" }]]);
    expect(run).toHaveBeenCalledOnce();
    expect(told).toHaveBeenCalledOnce();
  });

  test("is not repeated when it has ended here; its end is stored", async () => {
    const telemetry = startTelemetry();
    const engine = scriptedEngine();
    const run = vi.fn(() => Promise.reject(new Error("no")));
    createTasks({ engine }).task({ name: "task", retries: 1, delay: 60_000 }, run);
    await engine.run("task", "x", async () => "lost" as const);
    const { given, store } = failing(0);
    await engine.run("task", "x", store, LOST);
    expect(given).toMatchObject([{ outcome: "retry", error: new Error("no") }]);
    expect(run).toHaveBeenCalledOnce();
    expect(telemetry.named("process task")).toHaveLength(1);
  });

  test("is not repeated while its end is still being stored", async () => {
    const engine = scriptedEngine();
    const run = vi.fn();
    createTasks({ engine }).task("task", run);
    const { given, store } = failing(3);
    const first = engine.run("task", "x", store);
    await vi.waitFor(() => expect(given.length).toBeGreaterThan(0));
    const second = vi.fn();
    await engine.run("task", "x", second, LOST);
    await first;
    expect(second).toHaveBeenCalledOnce();
    expect(run).toHaveBeenCalledOnce();
  });

  test("is not repeated when it has succeeded here, though the store had said that it has the end", async () => {
    const engine = scriptedEngine();
    const run = vi.fn();
    createTasks({ engine }).task("task", run);
    await engine.run("task", "x", async () => {});
    const { given, store } = failing(0);
    await engine.run("task", "x", store, LOST);
    expect(given).toEqual([{ outcome: "success" }]);
    expect(run).toHaveBeenCalledOnce();
  });

  test("stays counted once by idle() inside it", async () => {
    const engine = scriptedEngine();
    const [started, gate, idle] = [deferred(), deferred(), vi.fn()];
    const tasks = createTasks({ engine });
    tasks.task("task", async () => {
      started.resolve();
      await gate.promise;
      await tasks.idle();
      idle();
    });
    const first = engine.run("task", "x", () => {});
    await started.promise;
    const second = engine.run("task", "x", () => {}, LOST);
    gate.resolve();
    await Promise.all([first, second]);
    expect(idle).toHaveBeenCalledOnce();
  });

  test("is cancelled where it is, for both deliveries", async () => {
    const engine = scriptedEngine();
    const told = vi.fn();
    const tasks = createTasks({ engine, onCancel: told });
    tasks.task("task", hang);
    const second = vi.fn();
    const over = [
      engine.run("task", "x", () => "lost"),
      engine.run("task", "x", async (end) => void second(end), LOST),
    ];
    expect(await tasks.cancel("x")).toBe(true);
    await Promise.all(over);
    expect(second.mock.calls).toMatchObject([[{ outcome: "cancelled" }]]);
    expect(told).toHaveBeenCalledOnce();
  });

  test("is told as cancelled once, where its retry was cancelled", async () => {
    const engine = scriptedEngine();
    const [inHook, gate, told] = [deferred(), deferred(), vi.fn()];
    const onRetry = async (): Promise<void> => {
      inHook.resolve();
      await gate.promise;
    };
    const tasks = createTasks({ engine, onRetry, onCancel: ({ context }) => void told(context.attempt) });
    tasks.task({ name: "task", retries: 1 }, () => Promise.reject(new Error("no")));
    const first = engine.run("task", "x", () => "lost");
    await inHook.promise;
    expect(await tasks.cancel("x")).toBe(false);
    gate.resolve();
    await first;
    expect(told).not.toHaveBeenCalled();
    const { given, store } = failing(0);
    await engine.run("task", "x", store, LOST);
    await tasks.idle();
    expect(given).toMatchObject([{ outcome: "cancelled" }]);
    expect(told.mock.calls).toEqual([[1]]);
  });

  test.each([
    { other: "attempt", facts: { ...LOST, attempt: 1 } },
    { other: "delivery, of which none was lost", facts: {} },
    { other: "task, which has taken the id", facts: LOST, enqueuedAt: 1 },
  ])("is no other $other", async ({ facts, enqueuedAt }) => {
    const engine = scriptedEngine();
    const run = vi.fn();
    createTasks({ engine }).task({ name: "task", retries: 2 }, run);
    await engine.run("task", "x", () => "lost");
    const { origin } = engine.delivery("task", "x");
    await engine.run("task", "x", () => {}, { ...facts, origin: { ...origin, enqueuedAt } });
    expect(run).toHaveBeenCalledTimes(2);
  });

  test("runs again where it was given back", async () => {
    const engine = scriptedEngine();
    const tasks = createTasks({ engine });
    await engine.run("late", "x", () => "lost");
    const run = vi.fn();
    tasks.task("late", run);
    await engine.run("late", "x", () => {}, LOST);
    expect(run).toHaveBeenCalledOnce();
  });
});

describe("a task whose runs are lost", () => {
  test("runs again, ten times", async () => {
    const telemetry = startTelemetry();
    const engine = scriptedEngine();
    createTasks({ engine }).task("task", () => {});
    await engine.run("task", "x", () => {}, { redelivered: true, lost: 9 });
    expect(telemetry.span("process task").attributes).toMatchObject({
      "task.outcome": "success",
      "task.redelivered": true,
    });
  });

  test("then gives up without another run, whatever its retries, and says so everywhere", async () => {
    const telemetry = startTelemetry();
    const engine = scriptedEngine();
    const [run, failed, notices] = [vi.fn(), vi.fn(), [] as TaskNotice[]];
    const options = { onFailure: failed, onNotice: (notice: TaskNotice) => void notices.push(notice) };
    createTasks({ engine, ...options }).task({ name: "task", retries: 5, retryIf: () => true }, run);
    const { given, store } = failing(0);
    await engine.run("task", "x", store, { redelivered: true, lost: 10 });
    expect(run).not.toHaveBeenCalled();
    const span = telemetry.span("process task");
    expect(span.attributes).toMatchObject({
      "task.outcome": "failure",
      "error.type": "TaskLostError",
      "task.redelivered": true,
    });
    const lost = expect.objectContaining({ message: "10 runs of this attempt were lost" });
    expect(failed.mock.calls).toMatchObject([[{ error: lost, context: { taskId: "x", redelivered: true } }]]);
    expect(notices).toMatchObject([{ kind: "gave-up", error: lost }]);
    expect(given).toEqual([{ outcome: "failure", error: lost }]);
    expect(isTaskLostError(failed.mock.calls[0]?.[0].error)).toBe(true);
  });

  test("gives up after as many as the engine says", async () => {
    const engine = scriptedEngine({}, true, 2);
    const run = vi.fn();
    createTasks({ engine }).task("task", run);
    await engine.run("task", "x", () => {}, { redelivered: true, lost: 1 });
    await engine.run("task", "y", () => {}, { redelivered: true, lost: 2 });
    expect(run).toHaveBeenCalledOnce();
  });

  test("counts one where the engine does not count them", async () => {
    const engine = scriptedEngine({}, true, 1);
    const run = vi.fn();
    createTasks({ engine }).task("task", run);
    await engine.run("task", "x", () => {}, LOST);
    expect(run).not.toHaveBeenCalled();
  });
});

describe("a store that gives no answer", () => {
  const known = async (adding: Promise<unknown>): Promise<boolean | undefined> => {
    const error = await adding.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(isTaskStoreError(error)).toBe(true);
    return isTaskStoreError(error) ? error.stored : undefined;
  };

  test("makes addTask reject after ten seconds, not knowing whether the task is stored", async () => {
    useFakeTimers();
    const tasks = createTasks({ engine: scriptedEngine({ enqueue: hang }) });
    const task = tasks.task("task", () => {});
    const adding = known(tasks.addTask(task));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await adding).toBe(undefined);
  });

  test("is not what tasks wait for that are added together, as long as it answers one after the other", async () => {
    useFakeTimers();
    const waiting: (() => void)[] = [];
    const enqueue = (): Promise<boolean> => new Promise((resolve) => waiting.push(() => resolve(true)));
    const tasks = createTasks({ engine: scriptedEngine({ enqueue }) });
    const task = tasks.task("task", () => {});
    const adding = Promise.all(Array.from({ length: 4 }, () => tasks.addTask(task)));
    const clock = vi.spyOn(performance, "now");
    onTestFinished(() => clock.mockRestore());
    for (let answer = 1; answer <= 4; answer += 1) {
      clock.mockReturnValue(answer * 8_000);
      await vi.advanceTimersByTimeAsync(8_000);
      waiting.shift()?.();
    }
    expect(await adding).toHaveLength(4);
  });

  test("has stored nothing where it could not be connected to", async () => {
    const enqueue = vi.fn(() => true);
    const tasks = createTasks({ engine: scriptedEngine({ connect: hang, enqueue }) });
    const adding = known(tasks.addTask(tasks.task("task", () => {})));
    await tasks.shutdown({ timeout: 20 });
    expect(await adding).toBe(false);
    expect(enqueue).not.toHaveBeenCalled();
  });

  test("is given no task any more that was said not to be stored", async () => {
    const [connected, enqueue] = [deferred(), vi.fn(() => true)];
    const tasks = createTasks({ engine: scriptedEngine({ connect: () => connected.promise, enqueue }) });
    useFakeTimers("performance");
    const adding = known(tasks.addTask(tasks.task("task", () => {})));
    await vi.advanceTimersByTimeAsync(70_000);
    expect(await adding).toBe(false);
    connected.resolve();
    await vi.advanceTimersByTimeAsync(1);
    expect(enqueue).not.toHaveBeenCalled();
  });

  test("lets addTask reject with what it says while it is being connected to", async () => {
    const refused = new Error("no such database");
    const tasks = createTasks({ engine: scriptedEngine({ connect: () => Promise.reject(refused) }) });
    await expect(tasks.addTask(tasks.task("task", () => {}))).rejects.toBe(refused);
  });

  test("makes addTask reject when the manager has shut down", async () => {
    const tasks = createTasks({ engine: scriptedEngine({ enqueue: hang }) });
    const adding = known(tasks.addTask(tasks.task("task", () => {})));
    const since = Date.now();
    await tasks.shutdown({ timeout: 300 });
    expect(await adding).toBe(undefined);
    expect(Date.now() - since).toBeGreaterThanOrEqual(299);
  });

  test("makes work() reject after a minute, since it may have to be made first", async () => {
    useFakeTimers("performance");
    const working = createTasks({ engine: scriptedEngine({ work: hang }) }).work();
    const refused = expect(working).rejects.toSatisfy(isTaskStoreError);
    await vi.advanceTimersByTimeAsync(59_000);
    await Promise.race([working, Promise.resolve()]);
    await vi.advanceTimersByTimeAsync(1_001);
    await refused;
  });

  test("lets work() resolve at a shutdown", async () => {
    const tasks = createTasks({ engine: scriptedEngine({ work: hang }) });
    const working = tasks.work();
    await tasks.shutdown({ timeout: 0 });
    await working;
  });

  test("holds up no shutdown, whatever it is asked", async () => {
    const parts = { quiesce: hang, close: hang, waiting: hang, take: hang, enqueue: hang, work: hang };
    const engine = scriptedEngine(parts);
    const tasks = createTasks({ engine });
    const task = tasks.task("task", () => {});
    void tasks.work();
    void engine.run("task", "x", hang);
    const pending = [tasks.addTask(task).catch(() => {}), tasks.cancel("y"), tasks.idle()];
    const timeout = 500;
    const since = performance.now();
    await tasks.shutdown({ timeout });
    expect(performance.now() - since).toBeLessThan(timeout + 5_000);
    await Promise.all([pending[0], pending[2]]);
  });

  test("is asked again by a cancel, which gets the task that was taken out although the answer was lost", async () => {
    const told = vi.fn();
    let asked = 0;
    const engine = scriptedEngine({
      take: async () => {
        asked += 1;
        if (asked === 1) throw new Error("the answer was lost");
        return engine.delivery("task", "x");
      },
    });
    const tasks = createTasks({ engine, onCancel: told });
    expect(await tasks.cancel("x")).toBe(true);
    await tasks.idle();
    expect(told).toHaveBeenCalledOnce();
  });

  test("is asked about a cancelled task also when cancel() has answered, and what it says late is told", async () => {
    const told = vi.fn();
    const [silence, answers] = [deferred(), [] as (() => unknown)[]];
    const engine = scriptedEngine({
      take: async () => {
        answers.push(silence.resolve);
        if (answers.length === 1) await silence.promise;
        if (answers.length === 1) throw new Error("the answer was lost");
        return engine.delivery("task", "x");
      },
    });
    const tasks = createTasks({ engine, onCancel: told });
    useFakeTimers();
    const cancelled = tasks.cancel("x");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await cancelled).toBe(false);
    vi.useRealTimers();
    silence.resolve();
    await tasks.idle();
    expect(told).toHaveBeenCalledOnce();
  });

  test("is asked again by idle()", async () => {
    useFakeTimers();
    let asked = 0;
    const waiting = (): Promise<number> => {
      asked += 1;
      return asked === 1 ? hang() : Promise.resolve(0);
    };
    const idle = createTasks({ engine: scriptedEngine({ waiting }) }).idle();
    await vi.advanceTimersByTimeAsync(10_000);
    vi.useRealTimers();
    await idle;
    expect(asked).toBe(2);
  });
});
