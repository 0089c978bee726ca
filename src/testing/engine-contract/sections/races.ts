import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext } from "../../../index.js";
import { equal } from "../assertions.js";
import { durable, every, type Section } from "../case.js";
import type { Rig } from "../rig.js";

export const raceCases: Section = {
  title: "races",
  cases: [
    every("cancel is true of exactly the tasks that never end by themselves, whenever it comes", async (rig) => {
      const tasks = rig.manager({ concurrency: 4 });
      const flaky = tasks.task({ name: "flaky", retries: 1 }, async () => {
        await wait(Math.random() * 10);
        if (getTaskContext()?.attempt === 0) throw new Error("not yet");
      });
      const ids = await addMany(24, () => tasks.addTask(flaky));
      await tasks.work();
      await rig.ended("process flaky");
      const cancelled = await Promise.all(
        ids.map(async (id) => {
          await wait(Math.random() * 100);
          const stopped = await tasks.cancel(id);
          return { stopped, attempts: attemptsOf(rig, id).length };
        }),
      );
      await tasks.idle();
      for (const [index, id] of ids.entries()) {
        const outcomes = attemptsOf(rig, id);
        const { stopped, attempts } = cancelled[index] ?? {};
        equal([id, stopped], [id, !outcomes.includes("success")]);
        if (stopped) equal(outcomes.length, attempts);
      }
    }),

    durable("a shutdown among many tasks loses none and finishes none twice", async (rig) => {
      const [first, second] = [rig.manager({ concurrency: 4 }), rig.manager({ concurrency: 4 })];
      const short = async (): Promise<void> => void (await wait(Math.random() * 10));
      for (const tasks of [first, second]) tasks.task("short", short);
      const ids = await addMany(40, () => first.addTask(short));
      await first.work();
      await rig.ended("process short");
      await first.shutdown({ timeout: 0 });
      await rig.finish(second);
      const successes = ids.map((id) => attemptsOf(rig, id).filter((outcome) => outcome === "success").length);
      equal(
        successes,
        ids.map(() => 1),
      );
    }),
  ],
};

function addMany(count: number, add: () => Promise<string>): Promise<string[]> {
  return Promise.all(Array.from({ length: count }, add));
}

/** The outcomes of a task's attempts so far. */
function attemptsOf(rig: Rig, id: string): unknown[] {
  const attempts = rig.spans().filter(({ attributes }) => attributes["task.id"] === id && "task.outcome" in attributes);
  return attempts.map(({ attributes }) => attributes["task.outcome"]);
}
