import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { context, propagation, trace } from "@opentelemetry/api";
import { getTaskContext } from "../../../index.js";
import { between, contains, equal } from "../assertions.js";
import { every, type Section } from "../case.js";
import { deferred } from "../doubles.js";

export const contextCases: Section = {
  title: "context",
  cases: [
    every("is there in helpers at any depth, across await, timers, setImmediate and Promise.all", async (rig) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      const look = (): void => void seen.push(getTaskContext()?.taskId);
      const deep = async (depth: number): Promise<void> => {
        look();
        await null;
        look();
        if (depth > 0) await deep(depth - 1);
      };
      const task = tasks.task("look", async () => {
        await Promise.all([deep(3), wait(1).then(look), turn().then(look)]);
        await new Promise<void>((resolve) => setTimeout(() => process.nextTick(() => queueMicrotask(resolve)), 1));
        look();
      });
      const id = await tasks.addTask(task);
      await rig.finish(tasks);
      equal(
        seen,
        Array.from({ length: 11 }, () => id),
      );
    }),

    every("says name, attempt, number of attempts and tags; one id for all attempts", async (rig) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      const task = tasks.task({ name: "fails", retries: 2 }, () => {
        const { taskId, funcName, attempt, maxAttempts, tags } = getTaskContext() ?? {};
        seen.push([taskId, funcName, attempt, maxAttempts, { ...tags }]);
        throw new Error("no");
      });
      const tags = { plan: "pro", empty: "", emoji: "ü 🙂" };
      const id = await tasks.addTask(task, [], { tags });
      await rig.finish(tasks);
      equal(
        seen,
        [0, 1, 2].map((attempt) => [id, "fails", attempt, 3, tags]),
      );
    }),

    every("is each task's own, with 60 tasks of which up to ten run at once", async (rig) => {
      const tasks = rig.manager({ concurrency: 10 });
      const together = deferred();
      const seen = numbers(60).map((): unknown[] => []);
      const running: number[] = [0];
      const task = tasks.task({ name: "wander", retries: 1 }, async (n: number) => {
        running.push((running.at(-1) ?? 0) + 1);
        if (running.at(-1) === 2) together.resolve();
        await together.promise;
        for (let step = 0; step < 3; step += 1) {
          await (Math.random() < 0.5 ? turn() : wait(Math.random() * 5));
          const { taskId, attempt, tags } = getTaskContext() ?? {};
          seen[n]?.push([taskId, attempt, tags?.n]);
        }
        running.push((running.at(-1) ?? 0) - 1);
        if (n % 6 === 0 && getTaskContext()?.attempt === 0) throw new Error("once more");
      });
      const own = await Promise.all(numbers(60).map((n) => tasks.addTask(task, [n], { tags: { n: String(n) } })));
      await rig.finish(tasks);
      const expected = (id: string, n: number): unknown[] =>
        (n % 6 === 0 ? [0, 0, 0, 1, 1, 1] : [0, 0, 0]).map((attempt) => [id, attempt, String(n)]);
      equal(seen, own.map(expected));
      between(Math.max(...running), 2, 10);
    }),

    every("holds nothing that an earlier attempt or task has entered into an AsyncLocalStorage", async (rig) => {
      const tasks = rig.manager({ concurrency: 1 });
      const user = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      const task = tasks.task({ name: "enters", retries: 1 }, async () => {
        seen.push(user.getStore());
        user.enterWith(`attempt ${getTaskContext()?.attempt}`);
        await turn();
        if (getTaskContext()?.attempt === 0) throw new Error("once more");
      });
      await tasks.addTask(task);
      await rig.finish(tasks);
      await tasks.addTask(task);
      await rig.finish(tasks);
      equal(seen, [undefined, undefined, undefined, undefined]);
    }),

    every("holds nothing of what surrounded work()", async (rig) => {
      const tasks = rig.manager({ relation: "link" });
      const user = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      const task = tasks.task("look", () => {
        seen.push(user.getStore(), propagation.getActiveBaggage()?.getEntry("tenant"));
      });
      const tracer = rig.tracerProvider.getTracer("test");
      const baggage = propagation.createBaggage({ tenant: { value: "t1" } });
      const around = trace.setSpan(propagation.setBaggage(context.active(), baggage), tracer.startSpan("around"));
      await context.with(around, () => user.run("around", () => tasks.work()));
      await tasks.addTask(task);
      await tasks.idle();
      equal(seen, [undefined, undefined]);
      const links = rig.span("process look").links.map((link) => link.attributes?.["task.link"]);
      equal(links, ["enqueue"]);
    }),

    every("is the enqueuer's own asynchronous context in one process, and no one's beyond it", async (rig) => {
      const tasks = rig.manager({ concurrency: 1 });
      const user = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      const look = tasks.task("look", () => void seen.push(user.getStore()));
      await tasks.work();
      for (const name of ["a", "b"]) await user.run(name, () => tasks.addTask(look));
      await tasks.idle();
      equal(seen, rig.world.durable ? [undefined, undefined] : ["a", "b"]);
    }),

    every("of a task enqueued by a task: its own id and tags, its parent named, the parent's intact", async (rig) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      const look = (): void => {
        const plan = propagation.getActiveBaggage()?.getEntry("task.tag.plan")?.value;
        seen.push([getTaskContext()?.funcName, { ...getTaskContext()?.tags }, plan]);
      };
      const child = tasks.task("child", look);
      const parent = tasks.task("parent", async () => {
        await tasks.addTask(child, [], { tags: { size: "s" } });
        look();
      });
      const parentId = await tasks.addTask(parent, [], { tags: { plan: "pro" } });
      await rig.finish(tasks);
      equal(seen.length, 2);
      contains(seen, ["parent", { plan: "pro" }, "pro"]);
      contains(seen, ["child", { size: "s" }, undefined]);
      const spans = [rig.span("enqueue child"), rig.span("process child")];
      const parents = spans.map(({ attributes }) => attributes["task.parent.id"]);
      equal(parents, [parentId, parentId]);
      equal(spans[0]?.parentSpanContext?.spanId, rig.span("process parent").spanContext().spanId);
      equal(spans[1]?.attributes["task.id"] === parentId, false);
    }),
  ],
};

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}
