import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext, type ShutdownReport } from "otel-taskflow";
import { describe, expect, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import type { Contract } from "./case.js";

const SOON_MS = 10_000;

export function idleInTaskCases({ test }: Contract): void {
  describe("idle() and shutdown() inside a task", () => {
    test("idle() waits for the others, and for neither the task nor one that waits itself", async ({ rig }) => {
      const tasks = rig.manager({ concurrency: 3 });
      const order: string[] = [];
      const waits = tasks.task("waits", async (who: string) => {
        await tasks.idle();
        order.push(who);
      });
      const other = tasks.task("other", async () => {
        await wait(50);
        order.push("other");
      });
      await tasks.addTask(other, [], { delay: 200 });
      await tasks.addTask(waits, ["a"]);
      await tasks.addTask(waits, ["b"]);
      await rig.finish(tasks);
      expect(order.toSorted()).toEqual(["a", "b", "other"]);
      expect(order[0]).toBe("other");
    });

    test("a shutdown from outside lets a task end that waits for the others", async ({ rig }) => {
      const tasks = rig.manager({ concurrency: 3 });
      const [waiting, stopping] = [deferred(), deferred()];
      let started = false;
      const child = tasks.task("child", async () => {
        started = true;
        await stopping.promise;
        await wait(100);
      });
      const parent = tasks.task("parent", async () => {
        await tasks.addTask(child);
        waiting.resolve();
        await tasks.idle();
      });
      await tasks.work();
      await tasks.addTask(parent);
      await waiting.promise;
      await vi.waitFor(() => expect(started).toBe(true), SOON_MS);
      const report = tasks.shutdown({ timeout: SOON_MS });
      stopping.resolve();
      expect(await report).toEqual({ completed: 2, abandoned: [] });
      expect(rig.span("process parent").attributes["task.outcome"]).toBe("success");
    });

    test("shutdown() lets the others end, and ends the attempt that called it", async ({ rig }) => {
      const tasks = rig.manager({ concurrency: 3 });
      const [started, reported] = [deferred(), deferred<[string | undefined, ShutdownReport]>()];
      const stops = tasks.task("stops", async () => {
        const id = getTaskContext()?.taskId;
        await started.promise;
        reported.resolve([id, await tasks.shutdown({ timeout: SOON_MS })]);
      });
      const other = tasks.task("other", async () => {
        started.resolve();
        await wait(100);
      });
      await tasks.work();
      await tasks.addTask(stops);
      await tasks.addTask(other);
      const [id, report] = await reported.promise;
      expect(report).toEqual({ completed: 1, abandoned: [{ taskId: id, funcName: "stops", state: "active" }] });
      expect(rig.span("process other").attributes["task.outcome"]).toBe("success");
      expect(rig.named("process stops")).toHaveLength(1);
    });
  });
}
