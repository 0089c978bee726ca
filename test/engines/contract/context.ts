import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { context, propagation, trace } from "@opentelemetry/api";
import { getTaskContext } from "otel-taskflow";
import { describe, expect } from "vitest";
import { deferred } from "../../support/tasks.js";
import type { Contract } from "./case.js";

export function contextCases({ test, capabilities }: Contract): void {
  describe("context", () => {
    test("is there in helpers at any depth, across await, timers, setImmediate and Promise.all", async ({ rig }) => {
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
      expect(seen).toEqual(Array.from({ length: 11 }, () => id));
    });

    test("says name, attempt, number of attempts and tags; one id for all attempts", async ({ rig }) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      const task = tasks.task({ name: "fails", retries: 2 }, () => {
        const { taskId, funcName, attempt, maxAttempts, tags } = getTaskContext() ?? {};
        seen.push([taskId, funcName, attempt, maxAttempts, { ...tags }]);
        throw new Error("no");
      });
      const id = await tasks.addTask(task, [], { tags: { plan: "pro", empty: "", emoji: "ü 🙂" } });
      await rig.finish(tasks);
      const tags = { plan: "pro", empty: "", emoji: "ü 🙂" };
      expect(seen).toEqual([0, 1, 2].map((attempt) => [id, "fails", attempt, 3, tags]));
    });

    test("is each task's own, with 60 tasks of which up to ten run at once", async ({ rig }) => {
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
      expect(seen).toEqual(own.map(expected));
      expect(Math.max(...running)).toBeLessThanOrEqual(10);
    });

    test("holds nothing that an earlier attempt or task has entered into an AsyncLocalStorage", async ({ rig }) => {
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
      expect(seen).toEqual([undefined, undefined, undefined, undefined]);
    });

    test("holds nothing of what surrounded work()", async ({ rig }) => {
      const tasks = rig.manager({ relation: "link" });
      const user = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      const task = tasks.task("look", () => {
        seen.push(user.getStore(), propagation.getActiveBaggage()?.getEntry("tenant"));
      });
      const tracer = rig.provider.getTracer("test");
      const baggage = propagation.createBaggage({ tenant: { value: "t1" } });
      const around = trace.setSpan(propagation.setBaggage(context.active(), baggage), tracer.startSpan("around"));
      await context.with(around, () => user.run("around", () => tasks.work()));
      await tasks.addTask(task);
      await tasks.idle();
      expect(seen).toEqual([undefined, undefined]);
      expect(rig.span("process look").links.map((link) => link.attributes?.["task.link"])).toEqual(["enqueue"]);
    });

    test("is the enqueuer's own asynchronous context in one process, and no one's beyond it", async ({ rig }) => {
      const tasks = rig.manager({ concurrency: 1 });
      const user = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      const look = tasks.task("look", () => void seen.push(user.getStore()));
      await tasks.work();
      for (const name of ["a", "b"]) await user.run(name, () => tasks.addTask(look));
      await tasks.idle();
      expect(seen).toEqual(capabilities.durable ? [undefined, undefined] : ["a", "b"]);
    });

    test("of a task enqueued by a task: its own id and tags, its parent named, the parent's intact", async ({
      rig,
    }) => {
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
      expect(seen).toHaveLength(2);
      expect(seen).toContainEqual(["parent", { plan: "pro" }, "pro"]);
      expect(seen).toContainEqual(["child", { size: "s" }, undefined]);
      const spans = [rig.span("enqueue child"), rig.span("process child")];
      expect(spans.map(({ attributes }) => attributes["task.parent_id"])).toEqual([parentId, parentId]);
      expect(spans[0]?.parentSpanContext?.spanId).toBe(rig.span("process parent").spanContext().spanId);
      expect(spans[1]?.attributes["task.id"]).not.toBe(parentId);
    });
  });
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}
