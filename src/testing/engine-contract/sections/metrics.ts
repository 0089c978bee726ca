import { getTaskContext } from "../../../index.js";
import { equal } from "../assertions.js";
import { every, type Section } from "../case.js";
import type { Rig } from "../rig.js";

export const metricCases: Section = {
  title: "metrics",
  cases: [
    every("count each task once when it is enqueued, and once when it is finished", async (rig) => {
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
      equal(counts(rig, "task.enqueued"), { works: 3, flaky: 1, fails: 1 });
      equal(counts(rig, "task.finished"), {
        "works success": 2,
        "works cancelled": 1,
        "flaky success": 1,
        "fails failure RangeError": 1,
      });
      equal(counts(rig, "task.attempt.active"), { works: 0, flaky: 0, fails: 0 });
    }),
  ],
};

/** By the values of the attributes, but for the engine's name, which each must have. */
function counts(rig: Rig, metric: string): Record<string, unknown> {
  const totals = rig.totals(metric);
  equal(
    totals.map(({ attributes }) => attributes["task.engine"]),
    totals.map(() => rig.engine.name),
  );
  const keys = ["task.name", "task.outcome", "error.type"];
  return Object.fromEntries(
    totals.map(({ attributes, value }) => [keys.flatMap((key) => attributes[key] ?? []).join(" "), value]),
  );
}
