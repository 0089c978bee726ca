import { createHook } from "node:async_hooks";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isTaskQueueFullError, memoryEngine } from "otel-taskflow";
import { describe, expect, test, vi } from "vitest";
import { createTasks, deferred } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

// The collector, without a flag on the command line.
function exposedGc(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}

/** Computes for this many milliseconds. */
function spin(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe("the memory engine", () => {
  test("never starts a task synchronously, nor before addTask has resolved", async () => {
    const tasks = createTasks();
    const order: string[] = [];
    const task = tasks.task("task", () => void order.push("started"));
    const adding = tasks.addTask(task);
    order.push("returned");
    await adding;
    order.push("resolved");
    await tasks.idle();
    expect(order).toEqual(["returned", "resolved", "started"]);
  });

  test("runs tasks first in, first out", async () => {
    const tasks = createTasks({ engine: memoryEngine({ concurrency: 1 }) });
    const order: number[] = [];
    const task = tasks.task("task", (n: number) => void order.push(n));
    for (let n = 0; n < 50; n += 1) await tasks.addTask(task, [n]);
    await tasks.idle();
    expect(order).toEqual(Array.from({ length: 50 }, (_, n) => n));
  });

  test("never runs more than its concurrency at once, and as many as that", async () => {
    const tasks = createTasks({ engine: memoryEngine({ concurrency: 3 }) });
    let running = 0;
    const levels: number[] = [];
    const task = tasks.task("task", async () => {
      running += 1;
      levels.push(running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running -= 1;
    });
    await Promise.all(Array.from({ length: 20 }, () => tasks.addTask(task)));
    await tasks.idle();
    expect(Math.max(...levels)).toBe(3);
  });

  test("lets timers and I/O in between, however many short tasks are queued", async () => {
    const tasks = createTasks({ engine: memoryEngine({ concurrency: 10 }) });
    let done = 0;
    const task = tasks.task("short", () => {
      done += 1;
    });
    await Promise.all(Array.from({ length: 5000 }, () => tasks.addTask(task)));
    const doneAtTurn = await new Promise<number>((resolve) => setImmediate(() => setImmediate(() => resolve(done))));
    await tasks.idle();
    expect(doneAtTurn).toBeLessThan(1000);
    expect(done).toBe(5000);
  });

  test.each([
    ["at once", () => spin(1)],
    [
      "after an await",
      async () => {
        await null;
        spin(1);
      },
    ],
  ])(
    "gives the event loop back after some milliseconds of tasks that compute %s, at any concurrency",
    async (_, fn) => {
      const tasks = createTasks({ engine: memoryEngine({ concurrency: Number.POSITIVE_INFINITY }) });
      let inThisTurn = 0;
      let most = 0;
      const task = tasks.task("computes", () => {
        inThisTurn += 1;
        most = Math.max(most, inThisTurn);
        return fn();
      });
      await Promise.all(Array.from({ length: 200 }, () => tasks.addTask(task)));
      const turns = setInterval(() => {
        inThisTurn = 0;
      }, 0);
      await tasks.idle();
      clearInterval(turns);
      expect(most).toBeLessThan(30);
    },
  );

  test("gives the event loop back between delayed tasks that are due together", async () => {
    const tasks = createTasks();
    let inThisTurn = 0;
    let most = 0;
    const task = tasks.task("computes", () => {
      inThisTurn += 1;
      most = Math.max(most, inThisTurn);
      spin(1);
    });
    await Promise.all(Array.from({ length: 100 }, () => tasks.addTask(task, [], { delay: 5 })));
    const turns = setInterval(() => {
      inThisTurn = 0;
    }, 0);
    await tasks.idle();
    clearInterval(turns);
    expect(most).toBeLessThan(60);
  });

  test("refuses a task beyond maxQueued, on the enqueue span too, and takes one again later", async () => {
    const telemetry = startTelemetry();
    const tasks = createTasks({ engine: memoryEngine({ maxQueued: 2 }) });
    const run = vi.fn();
    const task = tasks.task("task", run);
    await Promise.all([tasks.addTask(task), tasks.addTask(task)]);
    await expect(tasks.addTask(task)).rejects.toSatisfy(isTaskQueueFullError);
    await tasks.idle();
    await tasks.addTask(task);
    await tasks.idle();
    expect(run).toHaveBeenCalledTimes(3);
    const types = telemetry.named("enqueue task").map((span) => span.attributes["error.type"]);
    expect(types).toEqual([undefined, undefined, "TaskQueueFullError", undefined]);
  });

  test("does not count a cancelled task as queued", async () => {
    const tasks = createTasks({ engine: memoryEngine({ maxQueued: 1 }) });
    const task = tasks.task("task", () => {});
    await tasks.cancel(await tasks.addTask(task, [], { delay: 60_000 }));
    await expect(tasks.addTask(task)).resolves.toEqual(expect.any(String));
  });

  test("does not enqueue an id twice while it is live, and does again after", async () => {
    const tasks = createTasks();
    const run = vi.fn();
    const task = tasks.task("task", run);
    const add = (): Promise<string> => tasks.addTask(task, [], { taskId: "order-7" });
    expect(await Promise.all([add(), add()])).toEqual(["order-7", "order-7"]);
    await tasks.idle();
    expect(run).toHaveBeenCalledOnce();
    await add();
    await tasks.idle();
    expect(run).toHaveBeenCalledTimes(2);
  });

  test("takes the arguments as they were at addTask", async () => {
    const tasks = createTasks();
    const seen: unknown[] = [];
    const task = tasks.task("task", (...args: number[]) => void seen.push(args));
    const args = [1, 2];
    const adding = tasks.addTask(task, args);
    args.push(3);
    await adding;
    await tasks.idle();
    expect(seen).toEqual([[1, 2]]);
  });

  test("is idle when nothing is queued, waiting or running", async () => {
    const tasks = createTasks();
    await tasks.idle();
    const gate = deferred();
    await tasks.addTask(tasks.task("task", () => gate.promise));
    let idle = false;
    const waiting = tasks.idle().then(() => {
      idle = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(idle).toBe(false);
    gate.resolve();
    await waiting;
  });

  test("starts with work() as without", async () => {
    const tasks = createTasks();
    const run = vi.fn();
    const task = tasks.task("task", run);
    await tasks.work();
    await tasks.addTask(task);
    await tasks.idle();
    expect(run).toHaveBeenCalledOnce();
  });

  test("keeps the process alive while a retry waits, and lets it exit afterwards", async () => {
    const script = `
      import { TaskManager, getTaskContext } from "./src/index.ts";
      const tasks = new TaskManager();
      const task = tasks.task({ name: "task", retries: 1, delay: 50 }, () => {
        if (getTaskContext().attempt === 0) throw new Error("once");
        console.log("retried");
      });
      await tasks.addTask(task);`;
    const args = ["--import", "tsx", "--input-type=module", "--eval", script];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { timeout: 150_000 });
    expect([stdout, stderr]).toEqual(["retried\n", ""]);
  });

  test("keeps nothing of cancelled tasks while others hold the slots", async () => {
    const tasks = createTasks({ engine: memoryEngine({ concurrency: 1 }) });
    await tasks.addTask(tasks.task("busy", () => new Promise(() => {})));
    const freed: string[] = [];
    const registry = new FinalizationRegistry((name: string) => freed.push(name));
    const task = tasks.task("waiting", (_data: object) => {});
    for (let n = 0; n < 10; n += 1) {
      const data = { n };
      registry.register(data, `data ${n}`);
      await tasks.cancel(await tasks.addTask(task, [data]));
    }
    const gc = exposedGc();
    await vi.waitFor(() => {
      gc();
      expect(freed.length).toBeGreaterThanOrEqual(8);
    });
  });

  test("tells async_hooks when a task's resources are done with", async () => {
    const live = new Set<number>();
    const hook = createHook({
      init: (id, type) => void (type.startsWith("otel-taskflow.") && live.add(id)),
      destroy: (id) => void live.delete(id),
    }).enable();
    const tasks = createTasks();
    const task = tasks.task({ name: "task", retries: 1 }, () => Promise.reject(new Error("no")));
    await Promise.all([tasks.addTask(task), tasks.addTask(task)]);
    await tasks.cancel(await tasks.addTask(task, [], { delay: 60_000 }));
    await tasks.idle();
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    hook.disable();
    expect(live.size).toBe(0);
  });

  test("keeps nothing of a chain of tasks, each of which enqueues the next", async () => {
    const script = `
      import { TaskManager } from "./src/index.ts";
      const tasks = new TaskManager();
      let left = 20_000;
      const next = tasks.task("next", async () => void (left-- > 0 && (await tasks.addTask(next))));
      const heap = () => (gc(), process.memoryUsage().heapUsed);
      await tasks.addTask(next);
      const before = heap();
      while (left > 100) await new Promise((resolve) => setImmediate(resolve));
      console.log((heap() - before) / 1e6);
      await tasks.shutdown();`;
    const args = ["--expose-gc", "--import", "tsx", "--input-type=module", "--eval", script];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 150_000 });
    expect(Number(stdout)).toBeLessThan(5);
  });

  test("surfaces no failure as an unhandled rejection, and none blocks its siblings", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    const tasks = createTasks({ engine: memoryEngine({ concurrency: 1 }) });
    const run = vi.fn();
    const bad = tasks.task("bad", () => Promise.reject(new Error("nobody catches me")));
    await Promise.all([tasks.addTask(bad), tasks.addTask(tasks.task("good", run)), tasks.addTask(bad)]);
    await tasks.idle();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", unhandled);
    expect([run.mock.calls.length, unhandled.mock.calls]).toEqual([1, []]);
  });
});
