import { getTaskContext } from "otel-taskflow";
import { describe, expect } from "vitest";
import type { Contract } from "./case.js";
import type { Rig } from "./rig.js";

export function metricCases({ test, name }: Contract): void {
  describe("metrics", () => {
    test("count each task once when it is enqueued, and once when it is finished", async ({ rig }) => {
      const tasks = rig.manager();
      const works = tasks.task("works", () => {});
      const flaky = tasks.task({ name: "flaky", retries: 1 }, () => {
        if (getTaskContext()?.attempt === 0) throw new Error("not yet");
      });
      const fails = tasks.task({ name: "fails", retries: 1 }, () => Promise.reject(new RangeError("no")));
      for (const task of [works, flaky, fails]) await tasks.addTask(task);
      await tasks.addTask(works, [], { taskId: "twice", delay: 100 });
      await tasks.addTask(works, [], { taskId: "twice" });
      await tasks.cancel(await tasks.addTask(works, [], { delay: 60_000 }));
      await rig.finish(tasks);
      expect(await counts(rig, "task.enqueued")).toEqual({ works: 3, flaky: 1, fails: 1 });
      expect(await counts(rig, "task.finished")).toEqual({
        "works success": 2,
        "works cancelled": 1,
        "flaky success": 1,
        "fails failure RangeError": 1,
      });
      expect(await counts(rig, "task.attempt.active")).toEqual({ works: 0, flaky: 0, fails: 0 });
    });
  });

  async function counts(rig: Rig, metric: string): Promise<Record<string, unknown>> {
    const points = (await rig.metrics.collect()).get(metric)?.dataPoints ?? [];
    expect(points.map(({ attributes }) => attributes["task.engine"])).toEqual(points.map(() => name));
    const keys = ["task.name", "task.outcome", "error.type"];
    return Object.fromEntries(
      points.map(({ attributes, value }) => [keys.flatMap((key) => attributes[key] ?? []).join(" "), value]),
    );
  }
}
