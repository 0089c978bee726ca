import { getTaskContext, type TaskHook } from "../../../index.js";
import { equal, sameElements } from "../assertions.js";
import { every, type Section } from "../case.js";

const HOOKS = ["onRetry", "onSuccess", "onFailure", "onCancel"] as const;

export const hookCases: Section = {
  title: "hooks",
  cases: [
    every("are told once of each end, inside the task's context, with error and delay", async (rig) => {
      const told: unknown[] = [];
      const tasks = rig.manager(recordHooks(told));
      const works = tasks.task("works", () => {});
      const fails = tasks.task({ name: "fails", retries: 1, delay: 20 }, () => Promise.reject(new Error("no")));
      await tasks.addTask(works);
      await tasks.addTask(fails);
      await tasks.cancel(await tasks.addTask(works, [], { delay: 60_000 }));
      await rig.finish(tasks);
      sameElements(told, [
        ["onSuccess", "works", 0, undefined, undefined, true],
        ["onRetry", "fails", 0, "no", 20, true],
        ["onFailure", "fails", 1, "no", undefined, true],
        ["onCancel", "works", 0, "the task was cancelled", undefined, true],
      ]);
    }),

    every("that throw change nothing", async (rig) => {
      const broken = (): never => {
        throw new Error("a hook's own");
      };
      const tasks = rig.manager({ onRetry: broken, onSuccess: broken });
      const flaky = tasks.task({ name: "flaky", retries: 1 }, () => {
        if (getTaskContext()?.attempt === 0) throw new Error("not yet");
      });
      await tasks.addTask(flaky);
      await rig.finish(tasks);
      const outcomes = rig.named("process flaky").map(({ attributes }) => attributes["task.outcome"]);
      equal(outcomes, ["retry", "success"]);
    }),
  ],
};

/** Hooks that note what they are told, and whether inside the task it is about. */
function recordHooks(told: unknown[]): Record<(typeof HOOKS)[number], TaskHook> {
  const record =
    (hook: string): TaskHook =>
    ({ context: { funcName, attempt, taskId }, error, delay }) => {
      const inside = getTaskContext()?.taskId === taskId;
      told.push([hook, funcName, attempt, error instanceof Error ? error.message : error, delay, inside]);
    };
  // fromEntries forgets which keys it was given
  return Object.fromEntries(HOOKS.map((hook) => [hook, record(hook)])) as ReturnType<typeof recordHooks>;
}
