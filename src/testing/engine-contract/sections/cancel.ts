import { getTaskContext } from "../../../index.js";
import { equal, eventually, includes } from "../assertions.js";
import { durable, every, type Section } from "../case.js";
import { counted, deferred, hang } from "../doubles.js";

export const cancelCases: Section = {
  title: "cancel",
  cases: [
    every("stops a task that is queued, once", async (rig) => {
      const tasks = rig.manager();
      const run = counted();
      const task = tasks.task("queued", run);
      const id = await tasks.addTask(task);
      equal(await tasks.cancel(id), true);
      equal(await tasks.cancel(id), false);
      await rig.finish(tasks);
      equal(run.calls, 0);
    }),

    every("stops a task that is delayed, and frees its id", async (rig) => {
      const tasks = rig.manager();
      const run = counted();
      const task = tasks.task("delayed", run);
      await tasks.work();
      const id = await tasks.addTask(task, [], { delay: 60_000, taskId: "order-7" });
      equal(await tasks.cancel(id), true);
      await tasks.idle();
      equal(run.calls, 0);
      await tasks.addTask(task, [], { taskId: "order-7" });
      await tasks.idle();
      equal(run.calls, 1);
    }),

    every("stops a task that is queued behind a running one", async (rig) => {
      const tasks = rig.manager({ concurrency: 1 });
      const [started, gate] = [deferred(), deferred()];
      const busy = tasks.task("busy", () => {
        started.resolve();
        return gate.promise;
      });
      const run = counted();
      const task = tasks.task("behind", run);
      await tasks.addTask(busy);
      await tasks.work();
      await started.promise;
      const ids = [await tasks.addTask(task), await tasks.addTask(task)];
      const cancelled = await Promise.all(ids.map((id) => tasks.cancel(id)));
      gate.resolve();
      await tasks.idle();
      equal([run.calls, cancelled], [0, [true, true]]);
    }),

    every("stops a task that waits for its retry", async (rig) => {
      const cancelled: number[] = [];
      const tasks = rig.manager({ onCancel: ({ context }) => void cancelled.push(context.attempt) });
      const run = counted(() => Promise.reject(new Error("later")));
      const id = await tasks.addTask(tasks.task({ name: "waiting", retries: 3, delay: 60_000 }, run));
      await tasks.work();
      await rig.ended("process waiting");
      await eventually(() => rig.isStored(id, "delayed", "queued", undefined), 5_000);
      equal(await tasks.cancel(id), true);
      await tasks.idle();
      equal([run.calls, cancelled], [1, [1]]);
    }),

    every("stops the retry of an attempt whose hook is still running", async (rig) => {
      const [inHook, gate] = [deferred(), deferred()];
      const onRetry = (): Promise<void> => {
        inHook.resolve();
        return gate.promise;
      };
      const cancelled: number[] = [];
      const tasks = rig.manager({ onRetry, onCancel: ({ context }) => void cancelled.push(context.attempt) });
      const run = counted(() => Promise.reject(new Error("again")));
      const id = await tasks.addTask(tasks.task({ name: "hooked", retries: 3 }, run));
      await tasks.work();
      await inHook.promise;
      equal(await tasks.cancel(id), true);
      gate.resolve();
      await tasks.idle();
      equal([run.calls, cancelled], [1, [1]]);
    }),

    every("aborts a running attempt at once: its signal, span and slot", async (rig) => {
      const cancelled: unknown[] = [];
      const tasks = rig.manager({ concurrency: 1, onCancel: ({ context }) => void cancelled.push(context.attempt) });
      const started = deferred<AbortSignal | undefined>();
      const stuck = tasks.task({ name: "stuck", retries: 3 }, () => {
        started.resolve(getTaskContext()?.signal);
        return hang();
      });
      const next = tasks.task("next", () => {});
      await tasks.work();
      const id = await tasks.addTask(stuck);
      const signal = await started.promise;
      equal(await tasks.cancel(id), true);
      includes(signal?.reason, { code: "TASK_CANCELLED" });
      await tasks.addTask(next);
      await tasks.idle();
      const span = rig.span("process stuck");
      equal([span.attributes["task.outcome"], span.status.code, span.events], ["cancelled", 0, []]);
      equal([rig.named("process next").length, cancelled], [1, [0]]);
      await rig.isStored(id, "failed", undefined);
    }),

    every("frees the id of the running task it aborts", async (rig) => {
      const tasks = rig.manager();
      const started = deferred();
      const run = counted(() => {
        started.resolve();
        return run.calls === 1 ? hang() : undefined;
      });
      const task = tasks.task("task", run);
      await tasks.addTask(task, [], { taskId: "order-7" });
      await tasks.work();
      await started.promise;
      equal(await tasks.cancel("order-7"), true);
      await tasks.idle();
      await tasks.addTask(task, [], { taskId: "order-7" });
      await tasks.idle();
      equal(run.calls, 2);
    }),

    every("is false of a task that is unknown, has succeeded or has given up", async (rig) => {
      const tasks = rig.manager();
      const done = await tasks.addTask(tasks.task("works", () => {}));
      const failed = await tasks.addTask(tasks.task("fails", () => Promise.reject(new Error("no"))));
      await rig.finish(tasks);
      const ids = [done, failed, "nobody", crypto.randomUUID(), ""];
      const answers = await Promise.all(ids.map((id) => tasks.cancel(id)));
      equal(
        answers,
        ids.map(() => false),
      );
      await tasks.shutdown();
      equal(await tasks.cancel("nobody"), false);
    }),

    durable("reaches a task that waits, from any process", async (rig) => {
      const [tasks, others] = [rig.manager(), rig.manager()];
      const run = counted();
      const ids = [await tasks.addTask(tasks.task("task", run)), await tasks.addTask(run, [], { delay: 60_000 })];
      others.task("task", run);
      equal(await Promise.all(ids.map((id) => others.cancel(id))), [true, true]);
      await rig.finish(tasks);
      equal(run.calls, 0);
    }),

    durable("is false of a task that runs in another process, and lets it end", async (rig) => {
      const [tasks, others] = [rig.manager(), rig.manager()];
      const [started, gate] = [deferred(), deferred()];
      const task = tasks.task("task", () => {
        started.resolve();
        return gate.promise;
      });
      const id = await tasks.addTask(task);
      await tasks.work();
      await started.promise;
      equal(await others.cancel(id), false);
      await rig.isStored(id, "running");
      gate.resolve();
      await tasks.idle();
      equal(rig.span("process task").attributes["task.outcome"], "success");
    }),
  ],
};
