import { AsyncLocalStorage } from "node:async_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { context, trace } from "@opentelemetry/api";
import { getTaskContext, type TaskManager } from "../../../index.js";
import { equal, eventually, soon } from "../assertions.js";
import { type Case, every, type Section } from "../case.js";
import { counted, deferred, hang } from "../doubles.js";
import type { Rig } from "../rig.js";

/** A task that is cancelled waits for its time, or for its retry, or it runs. */
const PLACES = ["waits", "waits for its retry", "runs"] as const;

type Place = (typeof PLACES)[number];

export const cancelHookCases: Section = {
  title: "the hook of a cancelled task",
  cases: [
    ...PLACES.map((place) => ownContext(place)),
    ...PLACES.map((place) => notAwaited(place)),
    ...PLACES.map((place) => notAwaitedByItself(place)),

    every("is called once the end of the running attempt is stored: its id is free", async (rig) => {
      const added = deferred<string>();
      const tasks = rig.manager({
        onCancel: async ({ context: { taskId } }) => added.resolve(await tasks.addTask(task, [], { taskId })),
      });
      const started = deferred();
      const task = tasks.task("task", () => {
        started.resolve();
        return run();
      });
      const run = counted(() => (run.calls === 1 ? hang() : undefined));
      await tasks.work();
      const id = await tasks.addTask(task, [], { taskId: "order-7" });
      await started.promise;
      equal(await tasks.cancel(id), true);
      equal(await soon("adding the task again", added.promise), id);
      await tasks.idle();
      equal(run.calls, 2);
      const outcomes = rig.named("process task").map(({ attributes }) => attributes["task.outcome"]);
      equal(outcomes.toSorted(), ["cancelled", "success"]);
      equal(
        rig.totals("task.enqueued").map(({ value }) => value),
        [2],
      );
    }),

    every("may never end, and the retry that was cancelled while onRetry ran does not run", async (rig) => {
      const [inHook, gate] = [deferred(), deferred()];
      const cancelled: number[] = [];
      const onRetry = (): Promise<void> => {
        inHook.resolve();
        return gate.promise;
      };
      const tasks = rig.manager({ onRetry, onCancel: ({ context }) => void cancelled.push(context.attempt) });
      rig.onClose(gate.resolve);
      const run = counted(() => Promise.reject(new Error("again")));
      const task = tasks.task({ name: "hooked", retries: 3 }, run);
      await tasks.work();
      const id = await tasks.addTask(task);
      await inHook.promise;
      equal(await soon("cancel()", tasks.cancel(id)), true);
      await rig.isStored(id, "failed", undefined);
      equal(await soon("cancel()", tasks.cancel(id)), false);
      gate.resolve();
      await tasks.idle();
      equal([run.calls, cancelled], [1, [1]]);
    }),
  ],
};

/** The trace of its enqueuer, the context of its task, and nothing of the canceller. */
function ownContext(place: Place): Case {
  return every(`runs once, in the task's context and its enqueuer's; the task ${place}`, async (rig) => {
    const user = new AsyncLocalStorage<string>();
    const told = deferred();
    const seen: unknown[] = [];
    const onCancel = (): void => {
      const { taskId, tags } = getTaskContext() ?? {};
      seen.push([taskId, { ...tags }, user.getStore(), trace.getSpanContext(context.active())?.traceId]);
      told.resolve();
    };
    const tasks = rig.manager({ onCancel });
    const tracer = rig.tracerProvider.getTracer("test");
    const request = tracer.startSpan("request");
    const within = trace.setSpan(context.active(), request);
    const id = await user.run("enqueuer", () => context.with(within, () => putTask(rig, tasks, place)));
    const around = trace.setSpan(context.active(), tracer.startSpan("canceller"));
    equal(await user.run("canceller", () => context.with(around, () => tasks.cancel(id))), true);
    await soon("the hook", told.promise);
    await tasks.idle();
    const enqueuer = rig.world.durable ? undefined : "enqueuer";
    equal(seen, [[id, { plan: "pro" }, enqueuer, request.spanContext().traceId]]);
  });
}

function notAwaited(place: Place): Case {
  return every(`may never end, cancel() does not wait for it; the task ${place}`, async (rig) => {
    const [inHook, gate] = [deferred(), deferred()];
    const onCancel = (): Promise<void> => {
      inHook.resolve();
      return gate.promise;
    };
    const tasks = rig.manager({ onCancel });
    rig.onClose(gate.resolve);
    const id = await putTask(rig, tasks, place);
    equal(await soon("cancel()", tasks.cancel(id)), true);
    await soon("the hook", inHook.promise);
    equal(await soon("cancel()", tasks.cancel(id)), false);
    gate.resolve();
    await tasks.idle();
  });
}

function notAwaitedByItself(place: Place): Case {
  return every(`may wait for idle(), then for shutdown(); the task ${place}`, async (rig) => {
    const order: string[] = [];
    const down = deferred();
    const onCancel = async (): Promise<void> => {
      await tasks.idle();
      order.push("idle");
      await tasks.shutdown({ timeout: 60_000 });
      down.resolve();
    };
    const tasks = rig.manager({ onCancel, concurrency: 3 });
    const id = await putTask(rig, tasks, place);
    const other = tasks.task("other", async () => {
      await wait(100);
      order.push("other");
    });
    await tasks.addTask(other);
    equal(await tasks.cancel(id), true);
    await soon("the hook", down.promise);
    equal(order, ["other", "idle"]);
  });
}

/** Enqueues a task with the tag plan=pro, and resolves to its id when it is in its place. */
async function putTask(rig: Rig, tasks: TaskManager, place: Place): Promise<string> {
  const started = deferred();
  const task = tasks.task({ name: "task", retries: 1, delay: 60_000 }, () => {
    started.resolve();
    return place === "runs" ? hang() : Promise.reject(new Error("later"));
  });
  const id = await tasks.addTask(task, [], { tags: { plan: "pro" }, delay: place === "waits" ? 60_000 : 0 });
  await tasks.work();
  if (place === "waits") return id;
  await started.promise;
  if (place === "runs") return id;
  await rig.ended("process task");
  await eventually(() => rig.isStored(id, "delayed", "queued", undefined));
  return id;
}
