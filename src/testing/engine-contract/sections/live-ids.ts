import { equal, sameElements } from "../assertions.js";
import { durable, every, type Section } from "../case.js";
import { counted, deferred } from "../doubles.js";

export const liveIdCases: Section = {
  title: "task ids",
  cases: [
    every("of a live task are not enqueued again, whether it is queued, delayed or running", async (rig) => {
      const tasks = rig.manager();
      const [started, gate] = [deferred(), deferred()];
      const run = counted(() => {
        started.resolve();
        return gate.promise;
      });
      const task = tasks.task("task", run);
      const add = (taskId: string, delay = 0): Promise<string> => tasks.addTask(task, [], { taskId, delay });
      const ids = await Promise.all([add("now"), add("now"), add("soon", 100), add("soon", 100)]);
      equal(ids, ["now", "now", "soon", "soon"]);
      await tasks.work();
      await started.promise;
      equal(await add("now"), "now");
      gate.resolve();
      await tasks.idle();
      equal(run.calls, 2);
    }),

    every("of a task that has succeeded or given up can be used again", async (rig) => {
      const tasks = rig.manager();
      const run = counted(() => {
        if (run.calls === 2) throw new Error("no");
      });
      const task = tasks.task("task", run);
      for (let time = 1; time <= 3; time += 1) {
        await tasks.addTask(task, [], { taskId: "order-7" });
        await rig.finish(tasks);
        equal(run.calls, time);
      }
      const outcomes = rig.named("process task").map(({ attributes }) => attributes["task.outcome"]);
      equal(outcomes, ["success", "failure", "success"]);
    }),

    durable("are enqueued once, whichever processes try at the same time", async (rig) => {
      const run = counted();
      const [tasks, others] = [rig.manager(), rig.manager()];
      for (const manager of [tasks, others]) manager.task("task", run);
      const eachTwice = [tasks, others, tasks, others];
      await Promise.all(eachTwice.map((manager) => manager.addTask(run, [], { taskId: "order-7" })));
      await rig.finish(tasks);
      equal(run.calls, 1);
    }),

    every("and names may hold any characters", async (rig) => {
      const tasks = rig.manager();
      const task = tasks.task("send/email: ü 🙂 'now' %s", () => {});
      const ids = ["order:7", "123", "ü 🙂 /%'\"\\", "a".repeat(200)];
      for (const taskId of ids) await tasks.addTask(task, [], { taskId });
      await rig.finish(tasks);
      const ran = rig.named("process send/email: ü 🙂 'now' %s").map(({ attributes }) => attributes["task.id"]);
      sameElements(ran, ids);
    }),
  ],
};
