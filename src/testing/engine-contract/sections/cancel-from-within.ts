import { getTaskContext, type TaskManager } from "../../../index.js";
import { equal, soon } from "../assertions.js";
import { every, type Section } from "../case.js";
import { counted, deferred, hang } from "../doubles.js";

export const cancelFromWithinCases: Section = {
  title: "cancel() of a task within itself",
  cases: [
    every("is true in its function, and the attempt ends at once", async (rig) => {
      const answer = deferred<boolean>();
      const tasks = rig.manager();
      const task = tasks.task({ name: "task", retries: 3 }, async () => {
        answer.resolve(await cancelSelf(tasks));
        await hang();
      });
      await tasks.addTask(task);
      await tasks.work();
      equal(await soon("cancel()", answer.promise), true);
      await soon("idle()", tasks.idle());
      equal(rig.span("process task").attributes["task.outcome"], "cancelled");
    }),

    every("is true in its onRetry, and no retry follows", async (rig) => {
      const answers: boolean[] = [];
      const cancelled: number[] = [];
      const tasks = rig.manager({
        onRetry: async () => void answers.push(await cancelSelf(tasks)),
        onCancel: ({ context }) => void cancelled.push(context.attempt),
      });
      const run = counted(() => Promise.reject(new Error("again")));
      const task = tasks.task({ name: "task", retries: 3 }, run);
      await tasks.addTask(task);
      await tasks.work();
      await soon("idle()", tasks.idle());
      equal([answers, cancelled, run.calls], [[true], [1], 1]);
    }),

    every("is false in its onCancel, whether it ran or waited", async (rig) => {
      const answers: boolean[] = [];
      const tasks = rig.manager({ onCancel: async () => void answers.push(await cancelSelf(tasks)) });
      const started = deferred();
      const task = tasks.task("task", () => {
        started.resolve();
        return hang();
      });
      await tasks.work();
      const [runs, waits] = [await tasks.addTask(task), await tasks.addTask(task, [], { delay: 60_000 })];
      await started.promise;
      equal([await tasks.cancel(runs), await tasks.cancel(waits)], [true, true]);
      await soon("idle()", tasks.idle());
      equal(answers, [false, false]);
    }),

    every("is false in its onSuccess, and the task has succeeded", async (rig) => {
      const answers: boolean[] = [];
      const cancelled = counted();
      const tasks = rig.manager({
        onSuccess: async () => void answers.push(await cancelSelf(tasks)),
        onCancel: () => void cancelled(),
      });
      const id = await tasks.addTask(tasks.task("task", () => {}));
      await tasks.work();
      await soon("idle()", tasks.idle());
      equal([answers, cancelled.calls], [[false], 0]);
      equal(rig.span("process task").attributes["task.outcome"], "success");
      await rig.isStored(id, "done", undefined);
    }),
  ],
};

function cancelSelf(tasks: TaskManager): Promise<boolean> {
  return soon("cancel() of itself", tasks.cancel(getTaskContext()?.taskId ?? ""));
}
