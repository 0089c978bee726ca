import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { getTaskContext } from "../../../index.js";
import { equal } from "../assertions.js";
import { durable, every, type Section } from "../case.js";
import { counted } from "../doubles.js";

/** As often as an engine looks whether anything is left, before it is believed to go on waiting. */
const LOOKS = 4;

export const workCases: Section = {
  title: "work and idle",
  cases: [
    durable("a manager that was not told to work runs nothing", async (rig) => {
      const [producer, worker] = [rig.manager(), rig.manager()];
      const [here, there] = [counted(), counted()];
      const task = producer.task("task", here);
      worker.task("task", there);
      for (let n = 0; n < 5; n += 1) await producer.addTask(task);
      await rig.finish(worker);
      equal([here.calls, there.calls], [0, 5]);
    }),

    durable("several workers share the tasks, and each task runs once", async (rig) => {
      const workers = [rig.manager({ concurrency: 3 }), rig.manager({ concurrency: 3 })];
      const ran: number[] = [];
      const run = async (n: number): Promise<void> => {
        await turn();
        ran.push(n);
      };
      for (const worker of workers) worker.task("task", run);
      const numbers = Array.from({ length: 30 }, (_, n) => n);
      await Promise.all(numbers.map((n) => workers[0]?.addTask(run, [n])));
      await Promise.all(workers.map((worker) => worker.work()));
      await Promise.all(workers.map((worker) => worker.idle()));
      const inOrder = ran.toSorted((a, b) => a - b);
      equal(inOrder, numbers);
    }),

    every("work() may be called again", async (rig) => {
      const tasks = rig.manager({ concurrency: 1 });
      const run = counted();
      const task = tasks.task("task", run);
      await Promise.all([tasks.work(), tasks.work()]);
      await tasks.addTask(task);
      await rig.finish(tasks);
      equal(run.calls, 1);
    }),

    every("a task that is registered after work() is run as well", async (rig) => {
      const tasks = rig.manager();
      const [early, late] = [counted(), counted()];
      tasks.task("early", early);
      await tasks.work();
      await tasks.addTask(tasks.task("late", late));
      await tasks.idle();
      equal([early.calls, late.calls], [0, 1]);
    }),

    every("idle() resolves at once where there is nothing", async (rig) => {
      const tasks = rig.manager();
      tasks.task("task", () => {});
      await tasks.idle();
      await rig.finish(tasks);
    }),

    every("idle() resolves when what is queued, delayed, waiting for its retry or running has ended", async (rig) => {
      const ended: string[] = [];
      const tasks = rig.manager({
        concurrency: 2,
        onSuccess: async ({ context }) => {
          await wait(50);
          ended.push(context.funcName);
        },
      });
      const running = tasks.task("running", () => {});
      const delayed = tasks.task("delayed", () => {});
      const flaky = tasks.task({ name: "flaky", retries: 1, delay: 100 }, () => {
        if (getTaskContext()?.attempt === 0) throw new Error("not yet");
      });
      for (const task of [running, delayed, flaky, running]) {
        await tasks.addTask(task, [], { delay: task === delayed ? 300 : 0 });
      }
      await rig.finish(tasks);
      equal(ended.toSorted(), ["delayed", "flaky", "running", "running"]);
    }),

    durable("idle() waits for what is left to another process", async (rig) => {
      const [tasks, others] = [rig.manager(), rig.manager()];
      const [here, there] = [counted(), counted()];
      await tasks.addTask(tasks.task("task", here));
      others.task("task", there);
      let idle = false;
      const waiting = tasks.idle().then(() => {
        idle = true;
      });
      await wait(LOOKS * (rig.engine.capabilities.granularity + 100));
      equal(idle, false);
      await others.work();
      await waiting;
      equal([here.calls, there.calls], [0, 1]);
    }),
  ],
};
