import type { Histogram, MetricData } from "@opentelemetry/sdk-metrics";
import { enqueueTask, getTaskContext, runAttempt, TaskManager } from "otel-taskflow";
import { describe, expect, test, vi } from "vitest";
import { startMetrics } from "../support/metrics.js";
import { createTasks, deferred } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

interface Point {
  readonly attributes: Record<string, unknown>;
  readonly value: number;
}

// A counter's sum, or how many values a histogram has.
function points(metric: MetricData | undefined): Point[] {
  const list = (metric?.dataPoints ?? []) as {
    attributes: Record<string, unknown>;
    value: number | { count: number };
  }[];
  return list.map(({ attributes, value }) => ({ attributes, value: typeof value === "number" ? value : value.count }));
}

const labels = { "task.name": "flaky", "task.engine": "memory" };

async function runFlaky(options = {}): Promise<void> {
  const tasks = createTasks(options);
  const flaky = tasks.task({ name: "flaky", retries: 2 }, () => {
    if (getTaskContext()?.attempt !== 2) throw new RangeError("not yet");
  });
  await tasks.addTask(flaky, [], { tags: { plan: "pro" } });
  await tasks.idle();
}

describe("metrics", () => {
  test("count tasks once when accepted, and once when ended", async () => {
    const { collect } = startMetrics();
    await runFlaky();
    const metrics = await collect();
    expect(points(metrics.get("task.enqueued"))).toEqual([{ attributes: labels, value: 1 }]);
    expect(points(metrics.get("task.finished"))).toEqual([
      { attributes: { ...labels, "task.outcome": "success" }, value: 1 },
    ]);
  });

  test("measure every attempt by outcome, with no tag and no id", async () => {
    const { collect } = startMetrics();
    await runFlaky();
    expect(points((await collect()).get("task.attempt.duration"))).toEqual([
      { attributes: { ...labels, "task.outcome": "retry", "error.type": "RangeError" }, value: 2 },
      { attributes: { ...labels, "task.outcome": "success" }, value: 1 },
    ]);
  });

  test("measure the wait of every attempt, and come back to no running attempt", async () => {
    const { collect } = startMetrics();
    await runFlaky();
    const metrics = await collect();
    expect(points(metrics.get("task.wait.duration"))).toEqual([{ attributes: labels, value: 3 }]);
    expect(points(metrics.get("task.attempt.active"))).toEqual([{ attributes: labels, value: 0 }]);
  });

  test("show the attempts that are running", async () => {
    const { collect } = startMetrics();
    const gate = deferred();
    const tasks = createTasks();
    const task = tasks.task("flaky", () => gate.promise);
    await Promise.all([tasks.addTask(task), tasks.addTask(task)]);
    await vi.waitFor(async () => expect(points((await collect()).get("task.attempt.active"))[0]?.value).toBe(2));
    gate.resolve();
    await tasks.idle();
  });

  test("have units, and boundaries from 5 ms to an hour", async () => {
    const { collect } = startMetrics();
    await runFlaky();
    const metrics = await collect();
    const units = [...metrics].map(([name, { descriptor }]) => [name, descriptor.unit]);
    expect(Object.fromEntries(units)).toEqual({
      "task.enqueued": "{task}",
      "task.finished": "{task}",
      "task.attempt.duration": "s",
      "task.attempt.active": "{attempt}",
      "task.wait.duration": "s",
    });
    const [waited] = metrics.get("task.wait.duration")?.dataPoints ?? [];
    const { boundaries = [] } = (waited?.value as Histogram | undefined)?.buckets ?? {};
    expect([boundaries[0], boundaries.at(-1)]).toEqual([0.005, 3600]);
  });

  test("count a task that gave up, one that was cancelled, and one that never ran", async () => {
    const { collect } = startMetrics();
    const tasks = new TaskManager();
    await tasks.addTask(tasks.task("fails", () => Promise.reject(new TypeError("no"))));
    await tasks.cancel(
      await tasks.addTask(
        tasks.task("cancelled", () => {}),
        [],
        { delay: 60_000 },
      ),
    );
    await tasks.addTask(
      tasks.task("left", () => {}),
      [],
      { delay: 60_000 },
    );
    await tasks.shutdown({ timeout: 300 });
    const finished = points((await collect()).get("task.finished")).map(({ attributes, value }) => [
      ...[attributes["task.name"], attributes["task.outcome"], attributes["error.type"], value],
    ]);
    expect(finished.toSorted()).toEqual([
      ["cancelled", "cancelled", undefined, 1],
      ["fails", "failure", "TypeError", 1],
      ["left", "cancelled", undefined, 1],
    ]);
  });

  test("do not count as finished what may run again elsewhere", async () => {
    const { collect } = startMetrics();
    await runAttempt({ funcName: "job" }, () => Promise.reject(new Error("x"))).catch(() => {});
    const metrics = await collect();
    expect(points(metrics.get("task.finished"))).toEqual([]);
    expect(points(metrics.get("task.attempt.duration"))[0]?.attributes["task.outcome"]).toBe("error");
  });

  test("count a task once however often its id is added, and once when it has ended", async () => {
    const { collect } = startMetrics();
    const tasks = createTasks();
    const task = tasks.task("flaky", () => {});
    await Promise.all([1, 2, 3].map(() => tasks.addTask(task, [], { taskId: "order-7" })));
    await tasks.idle();
    const metrics = await collect();
    expect([points(metrics.get("task.enqueued"))[0]?.value, points(metrics.get("task.finished"))[0]?.value]).toEqual([
      1, 1,
    ]);
  });

  test("count each task of a group once when the hook of one cancels another while the manager shuts down", async () => {
    const { collect } = startMetrics();
    const told: string[] = [];
    const tasks = new TaskManager({
      onCancel: ({ context }) => {
        told.push(context.taskId);
        if (context.taskId === "a") void tasks.cancel("b");
      },
    });
    const task = tasks.task("flaky", () => {});
    for (const taskId of ["a", "b"]) await tasks.addTask(task, [], { taskId, delay: 60_000 });
    const { completed } = await tasks.shutdown({ timeout: 5 });
    expect([completed, told, points((await collect()).get("task.finished"))[0]?.value]).toEqual([0, ["a", "b"], 2]);
  });

  test("count a task that was refused apart, by the type of the error", async () => {
    const { collect } = startMetrics();
    await enqueueTask({ funcName: "job" }, () => Promise.reject(new RangeError("down"))).catch(() => {});
    const refuse = (): never => {
      throw new TypeError("no");
    };
    await enqueueTask({ funcName: "job" }, refuse).catch(() => {});
    await enqueueTask({ funcName: "job" }, () => {});
    const attributes = { "task.name": "job" };
    expect(points((await collect()).get("task.enqueued"))).toEqual([
      { attributes: { ...attributes, "error.type": "RangeError" }, value: 1 },
      { attributes: { ...attributes, "error.type": "TypeError" }, value: 1 },
      { attributes, value: 1 },
    ]);
  });

  test("reach a meter provider registered after the manager was made", async () => {
    const tasks = createTasks();
    const task = tasks.task("flaky", () => {});
    await tasks.addTask(task);
    await tasks.idle();
    const { collect } = startMetrics();
    await tasks.addTask(task);
    await tasks.idle();
    expect(points((await collect()).get("task.enqueued"))).toEqual([{ attributes: labels, value: 1 }]);
  });

  test("go to the provider given to the manager", async () => {
    const { provider, collect } = startMetrics({ global: false });
    await runFlaky({ meterProvider: provider });
    expect((await collect()).size).toBe(5);
  });

  test("are recorded inside the attempt, so that exemplars find its trace", async () => {
    startTelemetry();
    const inside: unknown[] = [];
    const note = (): void => void inside.push(getTaskContext()?.funcName);
    const instrument = { add: note, record: note };
    const make = (): typeof instrument => instrument;
    const meter = { createCounter: make, createHistogram: make, createUpDownCounter: make };
    const meterProvider = JSON.parse("{}");
    meterProvider.getMeter = () => meter;
    await runAttempt({ funcName: "job", dueAt: 1, meterProvider }, () => {});
    expect(inside).toEqual(["job", "job", "job", "job", "job"]);
  });

  test("that throw change nothing", async () => {
    const fail = (): never => {
      throw new Error("no metrics today");
    };
    const meterProvider = JSON.parse("{}");
    meterProvider.getMeter = fail;
    expect(await runAttempt({ funcName: "job", meterProvider }, () => "result")).toBe("result");
    meterProvider.getMeter = () => ({
      createCounter: () => ({ add: fail }),
      createHistogram: () => ({ record: fail }),
      createUpDownCounter: () => ({ add: fail }),
    });
    expect(await runAttempt({ funcName: "job", meterProvider }, () => "result")).toBe("result");
  });
});
