import { isTaskConfigError } from "../../../index.js";
import { equal, rejects } from "../assertions.js";
import { every, type Section } from "../case.js";

/** An engine's library may have names like these for things of its own, or read them as something else than an id. */
const ODD_IDS: readonly string[] = [
  ...["wait", "active", "delayed", "paused", "completed", "failed", "prioritized", "waiting-children", "stalled"],
  ...["stalled-check", "limiter", "meta", "events", "marker", "id", "pc", "repeat", "de", "metrics"],
  ...["0", "-1", "-1.5", "1e3", "Infinity", "NaN", "null", "__proto__", "constructor", "nightly", "Nightly", " "],
  ...["12", "a:b", "a:b:c", "id=x", "%3A", "id=%3A", "é", "e\u0301", "x".repeat(512), "😀".repeat(256)],
];

export const idCases: Section = {
  title: "odd ids",
  cases: [
    every("are ids like any other, and break nothing for the tasks that follow", async (rig) => {
      const [first, second] = [rig.manager(), rig.manager()];
      const run = (): void => {};
      for (const tasks of [first, second]) tasks.task("task", run);
      for (const taskId of ODD_IDS) equal(await first.addTask(run, [], { taskId }), taskId);
      await rig.finish(first);
      const later = await second.addTask(run);
      await rig.finish(second);
      // delivery is at least once, and a busy machine has one run again
      const ids = new Set(rig.named("process task").map(({ attributes }) => attributes["task.id"]));
      equal([...ids].toSorted(), [...ODD_IDS, later].toSorted());
    }),

    every("are cancelled by the id that was given", async (rig) => {
      const tasks = rig.manager();
      const task = tasks.task("task", () => {});
      for (const taskId of ["active", "nightly", "order-7", "7"]) {
        await tasks.addTask(task, [], { taskId, delay: 60_000 });
        equal([taskId, await tasks.cancel(taskId)], [taskId, true]);
      }
    }),

    every("are enqueued once as long as their task lives, each beside those that look like it", async (rig) => {
      const tasks = rig.manager();
      const task = tasks.task("task", () => {});
      const ids = ["active", "a:b", "id=a%3Ab", "%3A", ":", "1", "id=1"];
      for (const taskId of [...ids, ...ids]) await tasks.addTask(task, [], { taskId, delay: 60_000 });
      for (const taskId of ids) equal([taskId, await tasks.cancel(taskId)], [taskId, true]);
      await tasks.idle();
      const enqueued = rig.totals("task.enqueued").map(({ value }) => value);
      equal(enqueued, [ids.length]);
    }),

    every("are refused, and nothing is stored, where no store keeps them as they are", async (rig) => {
      const tasks = rig.manager();
      const task = tasks.task("task", () => {});
      for (const taskId of ["\ud83d", "order-😀".slice(0, 7), "a\0b", "", "x".repeat(513)]) {
        await rejects(tasks.addTask(task, [], { taskId }), isTaskConfigError);
      }
      await rejects(
        Promise.resolve().then(() => tasks.task("half \ud83d", () => {})),
        isTaskConfigError,
      );
      await rig.finish(tasks);
      equal(rig.named("process task"), []);
    }),
  ],
};
