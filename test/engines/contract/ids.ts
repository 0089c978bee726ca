import { isTaskConfigError } from "otel-taskflow";
import { describe, expect, vi } from "vitest";
import type { Contract } from "./case.js";

/** What an engine's library may call a thing of its own, and what might be read as something else than an id. */
const ODD_IDS: readonly string[] = [
  ...["wait", "active", "delayed", "paused", "completed", "failed", "prioritized", "waiting-children", "stalled"],
  ...["stalled-check", "limiter", "meta", "events", "marker", "id", "pc", "repeat", "de", "metrics"],
  ...["0", "-1", "-1.5", "1e3", "Infinity", "NaN", "null", "__proto__", "constructor", "nightly", "Nightly", " "],
  ...["12", "a:b", "a:b:c", "id=x", "%3A", "id=%3A", "é", "e\u0301", "x".repeat(512), "😀".repeat(256)],
];

export function idCases({ test }: Contract): void {
  describe("odd ids", () => {
    test("are ids like any other, and break nothing for the tasks that follow", async ({ rig }) => {
      const [first, second] = [rig.manager(), rig.manager()];
      const run = vi.fn();
      for (const tasks of [first, second]) tasks.task("task", run);
      for (const taskId of ODD_IDS) expect(await first.addTask(run, [], { taskId })).toBe(taskId);
      await rig.finish(first);
      const later = await second.addTask(run);
      await rig.finish(second);
      // delivery is at least once, and a busy machine has one run again
      const ids = new Set(rig.named("process task").map(({ attributes }) => attributes["task.id"]));
      expect([...ids].toSorted()).toEqual([...ODD_IDS, later].toSorted());
    });

    test("are cancelled by the id that was given", async ({ rig }) => {
      const tasks = rig.manager();
      const task = tasks.task("task", () => {});
      for (const taskId of ["active", "nightly", "order-7", "7"]) {
        await tasks.addTask(task, [], { taskId, delay: 60_000 });
        expect([taskId, await tasks.cancel(taskId)]).toEqual([taskId, true]);
      }
    });

    test("are enqueued once as long as their task lives, each beside those that look like it", async ({ rig }) => {
      const tasks = rig.manager();
      const task = tasks.task("task", () => {});
      const ids = ["active", "a:b", "id=a%3Ab", "%3A", ":", "1", "id=1"];
      for (const taskId of [...ids, ...ids]) await tasks.addTask(task, [], { taskId, delay: 60_000 });
      for (const taskId of ids) expect([taskId, await tasks.cancel(taskId)]).toEqual([taskId, true]);
      await tasks.idle();
      const enqueued = (await rig.metrics.collect()).get("task.enqueued")?.dataPoints ?? [];
      expect(enqueued.map(({ value }) => value)).toEqual([ids.length]);
    });

    test("are refused, and nothing is stored, where no store keeps them as they are", async ({ rig }) => {
      const tasks = rig.manager();
      const task = tasks.task("task", () => {});
      for (const taskId of ["\ud83d", "order-😀".slice(0, 7), "a\0b", "", "x".repeat(513)]) {
        await expect(tasks.addTask(task, [], { taskId })).rejects.toSatisfy(isTaskConfigError);
      }
      expect(() => tasks.task("half \ud83d", () => {})).toThrow(expect.toSatisfy(isTaskConfigError));
      await rig.finish(tasks);
      expect(rig.named("process task")).toEqual([]);
    });
  });
}
