import { getTaskContext, type TaskManager } from "../../../index.js";
import { equal } from "../assertions.js";
import { durable, every, type Section } from "../case.js";

type Seen = [attempt: number | undefined, maxAttempts: number | undefined][];

export const runnerPolicyCases: Section = {
  title: "how often a task is retried",
  cases: [
    durable("is said by the process that runs it, where its enqueuer says fewer", async (rig) => {
      const [producer, worker] = [rig.manager(), rig.manager()];
      await producer.addTask(producer.task({ name: "fails" }, () => {}));
      const { seen } = failing(worker, 2);
      await rig.finish(worker);
      equal(seen, attemptsOf(3));
    }),

    durable(
      "is said by the process that runs it, for a job of another producer",
      async (rig) => {
        const worker = rig.manager();
        const { seen } = failing(worker, 1);
        await rig.addForeign("fails", { order: 7 });
        await rig.finish(worker);
        equal(seen, attemptsOf(2));
      },
      "addForeign",
    ),

    every("is said by addTask() for one task, more or fewer", async (rig) => {
      const tasks = rig.manager({ concurrency: 1 });
      const { task, seen } = failing(tasks, 1);
      await tasks.addTask(task, [], { retries: 2 });
      await rig.finish(tasks);
      equal(seen.splice(0), attemptsOf(3));
      await tasks.addTask(task, [], { retries: 0 });
      await tasks.idle();
      equal(seen, attemptsOf(1));
    }),
  ],
};

/** Registers a task that always fails, and notes each attempt, once also where a busy machine had it delivered again. */
function failing(tasks: TaskManager, retries: number): { task: () => never; seen: Seen } {
  const seen: Seen = [];
  const task = tasks.task({ name: "fails", retries, delay: 10 }, (): never => {
    const { attempt, maxAttempts } = getTaskContext() ?? {};
    if (seen.at(-1)?.[0] !== attempt) seen.push([attempt, maxAttempts]);
    throw new Error("no");
  });
  return { task, seen };
}

function attemptsOf(maxAttempts: number): Seen {
  return Array.from({ length: maxAttempts }, (_, attempt) => [attempt, maxAttempts]);
}
