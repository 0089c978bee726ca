import { describe, expect, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import type { Contract } from "./case.js";

export function liveIdCases({ test, durable }: Contract): void {
  describe("task ids", () => {
    test("of a live task are not enqueued again, whether it is queued, delayed or running", async ({ rig }) => {
      const tasks = rig.manager();
      const [started, gate] = [deferred(), deferred()];
      const run = vi.fn(() => {
        started.resolve();
        return gate.promise;
      });
      const task = tasks.task("task", run);
      const add = (taskId: string, delay = 0): Promise<string> => tasks.addTask(task, [], { taskId, delay });
      const ids = await Promise.all([add("now"), add("now"), add("soon", 100), add("soon", 100)]);
      expect(ids).toEqual(["now", "now", "soon", "soon"]);
      await tasks.work();
      await started.promise;
      expect(await add("now")).toBe("now");
      gate.resolve();
      await tasks.idle();
      expect(run).toHaveBeenCalledTimes(2);
    });

    test("of a task that has succeeded or given up can be used again", async ({ rig }) => {
      const tasks = rig.manager();
      const run = vi.fn(() => {
        if (run.mock.calls.length === 2) throw new Error("no");
      });
      const task = tasks.task("task", run);
      for (let time = 1; time <= 3; time += 1) {
        await tasks.addTask(task, [], { taskId: "order-7" });
        await rig.finish(tasks);
        expect(run).toHaveBeenCalledTimes(time);
      }
      const outcomes = rig.named("process task").map(({ attributes }) => attributes["task.outcome"]);
      expect(outcomes).toEqual(["success", "failure", "success"]);
    });

    durable("are enqueued once, whichever processes try at the same time", async ({ rig }) => {
      const run = vi.fn();
      const [tasks, others] = [rig.manager(), rig.manager()];
      for (const manager of [tasks, others]) manager.task("task", run);
      const eachTwice = [tasks, others, tasks, others];
      await Promise.all(eachTwice.map((manager) => manager.addTask(run, [], { taskId: "order-7" })));
      await rig.finish(tasks);
      expect(run).toHaveBeenCalledOnce();
    });

    test("and names may hold any characters", async ({ rig }) => {
      const tasks = rig.manager();
      const task = tasks.task("send/email: ü 🙂 'now' %s", () => {});
      const ids = ["order:7", "123", "ü 🙂 /%'\"\\", "a".repeat(200)];
      for (const taskId of ids) await tasks.addTask(task, [], { taskId });
      await rig.finish(tasks);
      const ran = rig.named("process send/email: ü 🙂 'now' %s").map(({ attributes }) => attributes["task.id"]);
      expect(ran.toSorted()).toEqual(ids.toSorted());
    });
  });
}
