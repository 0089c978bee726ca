import { getTaskContext, memoryEngine, NonRetryableError, type TaskEvent, type TaskOptions } from "otel-taskflow";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createTasks } from "../support/tasks.js";
import { collectDiag } from "../support/telemetry.js";

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Runs a task that always fails, and returns the delays its hook was told and the times of its attempts. */
async function failing(options: TaskOptions): Promise<{ delays: (number | undefined)[]; times: number[] }> {
  const delays: (number | undefined)[] = [];
  const times: number[] = [];
  const tasks = createTasks({ onRetry: ({ delay }) => void delays.push(delay) });
  const task = tasks.task({ name: "failing", ...options }, () => {
    times.push(Math.round(Date.now() / 100) * 100);
    throw new Error("always");
  });
  await tasks.addTask(task);
  await vi.advanceTimersByTimeAsync(1_000_000);
  return { delays, times };
}

describe("retry", () => {
  test("runs retries + 1 attempts, at once by default", async () => {
    expect((await failing({ retries: 3 })).times).toEqual([0, 0, 0, 0]);
    expect((await failing({})).times.length).toBe(1);
  });

  test("waits delay × backoff^(k−1) before retry k", async () => {
    const { delays, times } = await failing({ retries: 3, delay: 1000, backoff: 2 });
    expect(delays).toEqual([1000, 2000, 4000]);
    expect(times.map((time) => time - (times[0] ?? 0))).toEqual([0, 1000, 3000, 7000]);
  });

  test("waits maxDelay at most", async () => {
    expect((await failing({ retries: 4, delay: 1000, backoff: 3, maxDelay: 5000 })).delays).toEqual([
      ...[1000, 3000, 5000, 5000],
    ]);
  });

  test("stays within bounds when the backoff grows beyond every number", async () => {
    const { delays } = await failing({ retries: 1100, delay: 1, backoff: 2, maxDelay: 1 });
    expect([delays.length, Math.max(...delays.map(Number))]).toEqual([1100, 1]);
  });

  test("spreads waits downwards by the share jitter", async () => {
    const { delays } = await failing({ retries: 200, delay: 1000, jitter: 0.5 });
    const waits = delays.map(Number);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(500);
    expect(Math.max(...waits)).toBeLessThanOrEqual(1000);
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(250);
  });

  test("waits longer than one timer can", async () => {
    const month = 30 * 24 * 3600 * 1000;
    const tasks = createTasks();
    const runs: number[] = [];
    const task = tasks.task("monthly", () => void runs.push(Date.now()));
    await tasks.addTask(task, [], { delay: month });
    await vi.advanceTimersByTimeAsync(month - 1000);
    expect(runs).toEqual([]);
    await vi.advanceTimersByTimeAsync(2000);
    expect(runs.length).toBe(1);
  });

  test("holds no slot while it waits", async () => {
    const tasks = createTasks({ engine: memoryEngine({ concurrency: 1 }) });
    const order: string[] = [];
    const flaky = tasks.task({ name: "flaky", retries: 1, delay: 10_000 }, () => {
      order.push(`flaky ${getTaskContext()?.attempt}`);
      throw new Error("later");
    });
    const quick = tasks.task("quick", () => void order.push("quick"));
    await tasks.addTask(flaky);
    await tasks.addTask(quick);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(order).toEqual(["flaky 0", "quick", "flaky 1"]);
  });

  test("gives up at once on a NonRetryableError", async () => {
    const failures: TaskEvent[] = [];
    const tasks = createTasks({ onFailure: (event) => void failures.push(event) });
    const task = tasks.task({ name: "bad-input", retries: 5 }, () => {
      throw new NonRetryableError("no such user");
    });
    await tasks.addTask(task);
    await vi.advanceTimersByTimeAsync(1000);
    expect(failures.map(({ context }) => context.attempt)).toEqual([0]);
  });

  test("gives up at once when retryIf says so", async () => {
    const asked: unknown[] = [];
    const tasks = createTasks();
    const retryIf: TaskOptions["retryIf"] = (error, context) => {
      asked.push([error, context.attempt]);
      return context.attempt === 0;
    };
    const task = tasks.task({ name: "picky", retries: 5, retryIf }, () => Promise.reject("string thrown"));
    await tasks.addTask(task);
    await vi.advanceTimersByTimeAsync(1000);
    expect(asked).toEqual([
      ["string thrown", 0],
      ["string thrown", 1],
    ]);
  });

  test("goes on when retryIf throws, and says so in diag", async () => {
    const diag = collectDiag();
    const retryIf = (): boolean => {
      throw new Error("broken predicate");
    };
    expect((await failing({ retries: 2, retryIf })).times.length).toBe(3);
    expect(diag.filter((line) => line.includes("broken predicate")).length).toBe(2);
  });

  test.each([
    ["false", () => Promise.resolve(false)],
    ["an error", () => Promise.reject(new Error("broken predicate"))],
  ])("goes on when retryIf answers by a promise of %s, and says so in diag", async (_answer, answer) => {
    const diag = collectDiag();
    expect((await failing({ retries: 1, retryIf: answer as unknown as () => boolean })).times.length).toBe(2);
    expect(diag.some((line) => line.includes("has to answer at once"))).toBe(true);
  });

  test.each([undefined, null, 0, "", false])("treats a thrown %j like any failure", async (thrown) => {
    const errors: unknown[] = [];
    const tasks = createTasks({ onFailure: ({ error }) => void errors.push(error) });
    const task = tasks.task({ name: "falsy", retries: 1 }, () => {
      throw thrown;
    });
    await tasks.addTask(task);
    await vi.advanceTimersByTimeAsync(1000);
    expect(errors).toEqual([thrown]);
  });
});
