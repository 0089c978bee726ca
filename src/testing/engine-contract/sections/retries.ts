import { getTaskContext, NonRetryableError } from "../../../index.js";
import { between, equal, includes } from "../assertions.js";
import { durable, every, type Section } from "../case.js";
import { counted, deferred, hang } from "../doubles.js";
import type { Rig } from "../rig.js";

/** Node's timers and its clock round differently. */
const ROUNDING_MS = 1;
/** For a busy machine, beyond what the engine itself needs. */
const ALLOWANCE_MS = 3_000;
const DAY_MS = 86_400_000;

export const retryCases: Section = {
  title: "retries and delays",
  cases: [
    every("a retry starts when its delay is over, not earlier, and the next after its backoff", async (rig) => {
      const tasks = rig.manager();
      const starts: number[] = [];
      const failures: number[] = [];
      const task = tasks.task({ name: "fails", retries: 2, delay: 100.5, backoff: 1.5 }, () => {
        starts.push(Date.now());
        failures.push(Date.now());
        throw new Error("no");
      });
      await tasks.addTask(task);
      await rig.finish(tasks);
      const waits = [1, 2].map((retry) => (starts[retry] ?? 0) - (failures[retry - 1] ?? 0));
      for (const [index, delay] of [100.5, 150.75].entries()) {
        between(waits[index] ?? 0, delay - ROUNDING_MS, delay + latest(rig));
      }
      const delays = rig.named("process fails").map(({ attributes }) => attributes["task.retry.delay"]);
      equal(delays, [0.1005, 0.15075, undefined]);
    }),

    durable("the process that runs a task decides when it is retried, and how often", async (rig) => {
      const [producer, worker] = [rig.manager(), rig.manager()];
      const seen: unknown[] = [];
      const fails = (): never => {
        const { attempt, maxAttempts } = getTaskContext() ?? {};
        seen.push([attempt, maxAttempts]);
        throw new Error("no");
      };
      await producer.addTask(producer.task({ name: "task", retries: 5, delay: 60_000 }, () => {}));
      worker.task({ name: "task", retries: 1, delay: 20 }, fails);
      await rig.finish(worker);
      const delays = rig.named("process task").map(({ attributes }) => attributes["task.retry.delay"]);
      const attempts = [0, 1].map((attempt) => [attempt, 2]);
      equal([seen, delays], [attempts, [0.02, undefined]]);
    }),

    every("a delayed task starts when its delay is over, not earlier", async (rig) => {
      const tasks = rig.manager();
      const started = deferred<number>();
      const task = tasks.task("later", () => started.resolve(Date.now()));
      await tasks.work();
      const before = Date.now();
      await tasks.addTask(task, [], { delay: 400 });
      const added = Date.now();
      await tasks.idle();
      const startedAt = await started.promise;
      between(startedAt, before + 400 - ROUNDING_MS, added + 400 + latest(rig));
    }),

    every("a delay may be longer than a timer can hold", async (rig) => {
      const tasks = rig.manager();
      const later = counted();
      const [first, second] = [deferred(), deferred()];
      const task = tasks.task("later", later);
      const next = tasks.task("next", (which: number) => [first, second][which]?.resolve());
      await tasks.work();
      const id = await tasks.addTask(task, [], { delay: 40 * DAY_MS });
      await tasks.addTask(next, [0]);
      await first.promise;
      await tasks.addTask(next, [1]);
      await second.promise;
      equal(await tasks.cancel(id), true);
      await tasks.idle();
      equal(later.calls, 0);
    }),

    every("a waiting retry holds no slot", async (rig) => {
      const tasks = rig.manager({ concurrency: 1 });
      const [failed, ran] = [deferred(), deferred()];
      const waits = tasks.task({ name: "waits", retries: 1, delay: 60_000 }, () => {
        failed.resolve();
        throw new Error("no");
      });
      const next = tasks.task("next", () => ran.resolve());
      await tasks.work();
      await tasks.addTask(waits);
      await failed.promise;
      await tasks.addTask(next);
      await ran.promise;
    }),

    every("a NonRetryableError gives up at once", async (rig) => {
      const tasks = rig.manager();
      const task = tasks.task({ name: "gives-up", retries: 3 }, () => {
        throw new NonRetryableError("no use");
      });
      await tasks.addTask(task);
      await rig.finish(tasks);
      includes(rig.span("process gives-up").attributes, { "task.attempt": 0, "task.outcome": "failure" });
    }),

    every("retryIf is asked inside the task about the very error, and its false gives up", async (rig) => {
      const tasks = rig.manager();
      const error = new RangeError("no");
      const asked: unknown[] = [];
      const task = tasks.task(
        {
          name: "asks",
          retries: 3,
          retryIf: (thrown, context) => {
            asked.push([thrown === error, context.attempt, context === getTaskContext()]);
            return context.attempt === 0;
          },
        },
        () => Promise.reject(error),
      );
      await tasks.addTask(task);
      await rig.finish(tasks);
      equal(
        asked,
        [0, 1].map((attempt) => [true, attempt, true]),
      );
      equal(outcomesOf(rig, "asks"), ["retry", "failure"]);
    }),

    every("anything thrown is a failure: retried, then given up", async (rig) => {
      const tasks = rig.manager();
      const thrown = [undefined, null, 0, "", false, Number.NaN, "text", 7n, { code: 1 }, Object.freeze([1])];
      const ids = [];
      for (const [index, value] of thrown.entries()) {
        const task = tasks.task({ name: `throws-${index}`, retries: 1 }, () => Promise.reject(value));
        ids.push(await tasks.addTask(task));
      }
      await rig.finish(tasks);
      const seen = thrown.map((_, index) => outcomesOf(rig, `throws-${index}`));
      equal(
        seen,
        thrown.map(() => ["retry", "failure"]),
      );
      for (const id of ids) await rig.isStored(id, rig.world.durable ? "failed" : undefined);
    }),

    every("an attempt that takes too long fails with a TaskTimeoutError, and is retried", async (rig) => {
      const tasks = rig.manager();
      const reasons: unknown[] = [];
      const task = tasks.task({ name: "slow", retries: 1, timeout: 100 }, () => {
        const { attempt, signal } = getTaskContext() ?? {};
        if (attempt === 1) return;
        signal?.addEventListener("abort", () => reasons.push(signal.reason.code));
        return hang();
      });
      await tasks.addTask(task);
      await rig.finish(tasks);
      equal(reasons, ["TASK_TIMEOUT"]);
      equal(outcomesOf(rig, "slow"), ["retry", "success"]);
      equal(rig.named("process slow")[0]?.attributes["error.type"], "TaskTimeoutError");
    }),

    durable(
      "a task that gave up is failed in the engine's own terms, one that succeeded late is not",
      async (rig) => {
        const tasks = rig.manager();
        const fails = tasks.task({ name: "fails", retries: 1 }, () => Promise.reject(new Error("no")));
        const flaky = tasks.task({ name: "flaky", retries: 1 }, () => {
          if (getTaskContext()?.attempt === 0) throw new Error("not yet");
        });
        const [failed, succeeded] = [await tasks.addTask(fails), await tasks.addTask(flaky)];
        await rig.finish(tasks);
        await rig.isStored(failed, "failed");
        await rig.isStored(succeeded, "done", undefined);
      },
      "stateOf",
    ),
  ],
};

/** Milliseconds by which a start may be late. */
function latest({ engine }: Rig): number {
  return engine.capabilities.granularity + ALLOWANCE_MS;
}

function outcomesOf(rig: Rig, name: string): unknown[] {
  return rig.named(`process ${name}`).map(({ attributes }) => attributes["task.outcome"]);
}
