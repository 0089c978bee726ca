import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { getTaskContext, isTaskManagerClosedError, type TaskManager } from "../../../index.js";
import type { RecordedSpan } from "../../recorded-span.js";
import { equal, includes, rejects } from "../assertions.js";
import { durable, every, type Section } from "../case.js";
import { counted, deferred, hang } from "../doubles.js";
import { heldBack } from "../held-back.js";

export const shutdownCases: Section = {
  title: "shutdown",
  cases: [
    every("refuses new tasks from its call on, and lets running ones end", async (rig) => {
      const tasks = rig.manager();
      const [started, gate] = [deferred(), deferred()];
      const task = tasks.task("task", () => {
        started.resolve();
        return gate.promise;
      });
      const id = await tasks.addTask(task);
      await tasks.work();
      await started.promise;
      const stopping = tasks.shutdown();
      await rejects(tasks.addTask(task), isTaskManagerClosedError);
      gate.resolve();
      equal(await stopping, { completed: 1, abandoned: [] });
      equal(rig.span("process task").attributes["task.outcome"], "success");
      await rig.isStored(id, "done", undefined);
      await rejects(tasks.addTask(task), isTaskManagerClosedError);
    }),

    every("aborts what is left at its deadline, names it, and ends its span", async (rig) => {
      const tasks = rig.manager();
      const started = deferred<AbortSignal | undefined>();
      const stuck = tasks.task("stuck", () => {
        started.resolve(getTaskContext()?.signal);
        return hang();
      });
      const taskId = await tasks.addTask(stuck);
      await tasks.work();
      const signal = await started.promise;
      const report = await tasks.shutdown({ timeout: 100 });
      equal(report, { completed: 0, abandoned: [{ taskId, funcName: "stuck", state: "active" }] });
      includes(signal?.reason, { code: "TASK_CANCELLED" });
      equal(rig.named("process stuck").length, 1);
    }),

    every("and the tasks that follow leave the signal of a finished task alone", async (rig) => {
      const tasks = rig.manager({ concurrency: 1 });
      const signals: (AbortSignal | undefined)[] = [];
      const task = tasks.task({ name: "task", timeout: 60_000 }, () => void signals.push(getTaskContext()?.signal));
      await tasks.addTask(task);
      await rig.finish(tasks);
      await tasks.addTask(task);
      await tasks.idle();
      await wait(300);
      await tasks.shutdown();
      const aborted = signals.map((signal) => signal?.aborted);
      equal(aborted, [false, false]);
    }),

    durable("gives back a task it cuts short: the same attempt runs elsewhere", async (rig) => {
      const seen: string[] = [];
      const hung = deferred();
      const define = (tasks: TaskManager, who: string): (() => unknown) =>
        tasks.task({ name: "stuck", retries: 1 }, () => {
          const { taskId, attempt, tags } = getTaskContext() ?? {};
          seen.push([who, taskId, attempt, tags?.plan].join(" "));
          if (attempt === 0) throw new Error("not yet");
          hung.resolve();
          return who === "first" ? hang() : undefined;
        });
      const [first, second] = [rig.manager(), rig.manager()];
      const id = await first.addTask(define(first, "first"), [], { tags: { plan: "pro" } });
      await first.work();
      await hung.promise;
      const report = await first.shutdown({ timeout: 100 });
      define(second, "second");
      await rig.finish(second);
      equal(report.abandoned, [{ taskId: id, funcName: "stuck", state: "active" }]);
      equal(seen, [`first ${id} 0 pro`, `first ${id} 1 pro`, `second ${id} 1 pro`]);
      const spans = rig.named("process stuck");
      const outcomes = spans.map(({ attributes }) => attributes["task.outcome"]);
      equal(outcomes, ["retry", "deferred", "success"]);
      equal(previousOf(spans[2]), [spans[0]?.spanContext().spanId]);
      equal(spans[2]?.attributes["task.redelivered"], undefined);
    }),

    durable("leaves what is queued behind a task to others, who run it once", async (rig) => {
      const [first, second] = [rig.manager({ concurrency: 1 }), rig.manager()];
      const ran: string[] = [];
      const started = deferred();
      const stuck = first.task("stuck", () => {
        started.resolve();
        return hang();
      });
      const queued = first.task("queued", (n: number) => void ran.push(`first ${n}`));
      await first.addTask(stuck);
      await first.work();
      await started.promise;
      for (const n of [1, 2, 3]) await first.addTask(queued, [n]);
      equal((await first.shutdown({ timeout: 100 })).completed, 0);
      second.task("stuck", () => {});
      second.task("queued", (n: number) => void ran.push(`second ${n}`));
      await rig.finish(second);
      equal(ran.toSorted(), ["second 1", "second 2", "second 3"]);
    }),

    durable("gives back unused what arrives after it began", async (rig) => {
      const arrived = deferred();
      const [first, second] = [rig.manager({ between: heldBack(arrived.resolve) }), rig.manager()];
      const here = counted();
      const seen: unknown[] = [];
      const id = await first.addTask(first.task("late", here));
      await first.work();
      await arrived.promise;
      equal(await first.shutdown(), { completed: 0, abandoned: [] });
      second.task("late", () => void seen.push([getTaskContext()?.taskId, getTaskContext()?.attempt]));
      await rig.finish(second);
      equal([here.calls, seen], [0, [[id, 0]]]);
      const spans = rig
        .named("process late")
        .map(({ attributes }) => [attributes["task.redelivered"], attributes["task.outcome"]]);
      equal(spans, [[undefined, "success"]]);
    }),

    every("ends an idle() that is waiting", async (rig) => {
      const tasks = rig.manager();
      const task = tasks.task("later", () => {});
      await tasks.work();
      await tasks.addTask(task, [], { delay: 60_000 });
      const waiting = Promise.allSettled([tasks.idle()]);
      await tasks.shutdown({ timeout: 50 });
      await waiting;
    }),

    durable("leaves a waiting retry to others, who link it to the failed attempt", async (rig) => {
      const [first, second] = [rig.manager(), rig.manager()];
      const run = (): void => {
        if (getTaskContext()?.attempt === 0) throw new Error("not yet");
      };
      const options = { name: "flaky", retries: 1, delay: 200 };
      await first.addTask(first.task(options, run));
      await first.work();
      await rig.ended("process flaky");
      equal(await first.shutdown(), { completed: 0, abandoned: [] });
      second.task(options, run);
      await rig.finish(second);
      const [failed, succeeded] = rig.named("process flaky");
      includes(succeeded?.attributes, { "task.attempt": 1, "task.outcome": "success" });
      equal(previousOf(succeeded), [failed?.spanContext().spanId]);
      equal(typeof succeeded?.attributes["task.wait.duration"], "number");
    }),

    durable(
      "ends when nothing can be settled any more, without an unhandled rejection",
      async (rig) => {
        const unhandled: unknown[] = [];
        const note = (reason: unknown): void => void unhandled.push(reason);
        process.on("unhandledRejection", note);
        rig.onClose(() => process.off("unhandledRejection", note));
        const tasks = rig.manager({ concurrency: 3 });
        const [allStarted, gate] = [deferred(), deferred()];
        let started = 0;
        const run = (fails: boolean) => async (): Promise<void> => {
          started += 1;
          if (started === 3) allStarted.resolve();
          await gate.promise;
          if (fails) throw new Error("no");
        };
        await tasks.addTask(tasks.task("works", run(false)));
        await tasks.addTask(tasks.task("fails", run(true)));
        await tasks.addTask(tasks.task({ name: "flaky", retries: 1 }, run(true)));
        await tasks.work();
        await allStarted.promise;
        await rig.store.breakSettling?.();
        gate.resolve();
        for (const name of ["works", "fails", "flaky"]) await rig.ended(`process ${name}`);
        await tasks.shutdown({ timeout: 300 });
        await turn();
        equal(unhandled, []);
      },
      "breakSettling",
    ),
  ],
};

/** The attempts before it that a span is linked to. */
function previousOf(span: RecordedSpan | undefined): unknown {
  const links = span?.links.filter(({ attributes }) => attributes?.["task.link"] === "previous_attempt");
  return links?.map(({ context }) => context.spanId);
}
