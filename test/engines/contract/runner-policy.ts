import { getTaskContext, type TaskManager } from "otel-taskflow";
import { describe, expect } from "vitest";
import type { Contract } from "./case.js";

type Seen = [attempt: number | undefined, maxAttempts: number | undefined][];

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

export function runnerPolicyCases({ test, durable }: Contract): void {
  describe("how often a task is retried", () => {
    durable("is said by the process that runs it, where its enqueuer says fewer", async ({ rig }) => {
      const [producer, worker] = [rig.manager(), rig.manager()];
      await producer.addTask(producer.task({ name: "fails" }, () => {}));
      const { seen } = failing(worker, 2);
      await rig.finish(worker);
      expect(seen).toEqual(attemptsOf(3));
    });

    durable("is said by the process that runs it, for a job of another producer", async ({ rig }) => {
      const worker = rig.manager();
      const { seen } = failing(worker, 1);
      await rig.store.addForeign("fails", { order: 7 });
      await rig.finish(worker);
      expect(seen).toEqual(attemptsOf(2));
    });

    test("is said by addTask() for one task, more or fewer", async ({ rig }) => {
      const tasks = rig.manager({ concurrency: 1 });
      const { task, seen } = failing(tasks, 1);
      await tasks.addTask(task, [], { retries: 2 });
      await rig.finish(tasks);
      expect(seen.splice(0)).toEqual(attemptsOf(3));
      await tasks.addTask(task, [], { retries: 0 });
      await tasks.idle();
      expect(seen).toEqual(attemptsOf(1));
    });
  });
}
