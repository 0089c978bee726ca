import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { getTaskContext, TaskManager } from "otel-taskflow";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

/** A task that fails once and is retried a minute later, and the attempts that were seen of it. */
function flakyTask(tasks: TaskManager): { flaky: () => Promise<void>; attempts: (number | undefined)[] } {
  const attempts: (number | undefined)[] = [];
  const flaky = tasks.task({ name: "flaky", retries: 1, delay: 60_000 }, async () => {
    attempts.push(getTaskContext()?.attempt);
    if (attempts.length < 2) throw new Error("not yet");
  });
  return { flaky, attempts };
}

describe("under vitest's fake timers", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("tasks that wait for nothing run, and idle() and shutdown() resolve", async () => {
    const tasks = new TaskManager();
    const run = vi.fn();
    await tasks.addTask(tasks.task("task", run));
    await tasks.idle();
    await tasks.addTask(run);
    expect(await tasks.shutdown()).toEqual({ completed: 1, abandoned: [] });
    expect(run).toHaveBeenCalledTimes(2);
  });

  test("a retry and a delayed task come when the test's clock does, to the millisecond", async () => {
    const tasks = new TaskManager();
    const { flaky, attempts } = flakyTask(tasks);
    const later = vi.fn();
    await tasks.addTask(flaky);
    await tasks.addTask(tasks.task("later", later), [], { delay: 1_000 });
    await vi.advanceTimersByTimeAsync(999);
    expect([attempts, later.mock.calls.length]).toEqual([[0], 0]);
    await vi.advanceTimersByTimeAsync(1);
    expect(later).toHaveBeenCalledOnce();
    await vi.advanceTimersByTimeAsync(59_000);
    expect(attempts).toEqual([0, 1]);
    await tasks.shutdown();
  });

  test("a task also starts when the test moves its clock, without a turn of the event loop", async () => {
    const tasks = new TaskManager();
    const run = vi.fn();
    await tasks.addTask(tasks.task("task", run));
    vi.advanceTimersByTime(0);
    expect(run).toHaveBeenCalledOnce();
    await tasks.shutdown();
  });
});

test("under the mocked timers of Node's test runner, a retry and a delayed task run once", async () => {
  const script = `
    import { mock } from "node:test";
    import { getTaskContext, TaskManager } from "./src/index.ts";
    const settle = async () => { for (let n = 0; n < 20; n += 1) await new Promise((resolve) => process.nextTick(resolve)); };
    mock.timers.enable();
    const tasks = new TaskManager();
    const seen = [];
    const flaky = tasks.task({ name: "flaky", retries: 1, delay: 1000 }, async () => {
      seen.push("flaky " + getTaskContext().attempt);
      if (seen.length === 1) throw new Error("not yet");
    });
    const later = tasks.task("later", async () => void seen.push("later"));
    await tasks.addTask(flaky);
    mock.timers.tick(1);
    await settle();
    await tasks.addTask(later, [], { delay: 1000 });
    mock.timers.tick(1000);
    await settle();
    await tasks.shutdown();
    console.log(JSON.stringify(seen));`;
  const args = ["--no-warnings", "--import", "tsx", "--input-type=module", "--eval", script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 150_000 });
  expect(JSON.parse(stdout).toSorted()).toEqual(["flaky 0", "flaky 1", "later"]);
});
