import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext, type ShutdownReport } from "../../../index.js";
import { equal } from "../assertions.js";
import { every, type Section } from "../case.js";
import { deferred } from "../doubles.js";

const SOON_MS = 10_000;

export const idleInTaskCases: Section = {
  title: "idle() and shutdown() inside a task",
  cases: [
    every("idle() waits for the others, and for neither the task nor one that waits itself", async (rig) => {
      const tasks = rig.manager({ concurrency: 3 });
      const order: string[] = [];
      const waits = tasks.task("waits", async (who: string) => {
        await tasks.idle();
        order.push(who);
      });
      const other = tasks.task("other", async () => {
        await wait(50);
        order.push("other");
      });
      await tasks.addTask(other, [], { delay: 200 });
      await tasks.addTask(waits, ["a"]);
      await tasks.addTask(waits, ["b"]);
      await rig.finish(tasks);
      equal(order.toSorted(), ["a", "b", "other"]);
      equal(order[0], "other");
    }),

    every("a shutdown from outside lets a task end that waits for the others", async (rig) => {
      const tasks = rig.manager({ concurrency: 3 });
      const [waiting, started, stopping] = [deferred(), deferred(), deferred()];
      const child = tasks.task("child", async () => {
        started.resolve();
        await stopping.promise;
        await wait(100);
      });
      const parent = tasks.task("parent", async () => {
        await tasks.addTask(child);
        waiting.resolve();
        await tasks.idle();
      });
      await tasks.work();
      await tasks.addTask(parent);
      await waiting.promise;
      await started.promise;
      const report = tasks.shutdown({ timeout: SOON_MS });
      stopping.resolve();
      equal(await report, { completed: 2, abandoned: [] });
      equal(rig.span("process parent").attributes["task.outcome"], "success");
    }),

    every("shutdown() lets the others end, and ends the attempt that called it", async (rig) => {
      const tasks = rig.manager({ concurrency: 3 });
      const [started, reported] = [deferred(), deferred<[string | undefined, ShutdownReport]>()];
      const stops = tasks.task("stops", async () => {
        const id = getTaskContext()?.taskId;
        await started.promise;
        reported.resolve([id, await tasks.shutdown({ timeout: SOON_MS })]);
      });
      const other = tasks.task("other", async () => {
        started.resolve();
        await wait(100);
      });
      await tasks.work();
      await tasks.addTask(stops);
      await tasks.addTask(other);
      const [id, report] = await reported.promise;
      equal(report, { completed: 1, abandoned: [{ taskId: id, funcName: "stops", state: "active" }] });
      equal(rig.span("process other").attributes["task.outcome"], "success");
      equal(rig.named("process stops").length, 1);
    }),
  ],
};
