import { propagation } from "@opentelemetry/api";
import { type Carrier, enqueueTask, getTaskContext } from "otel-taskflow";
import { describe, expect } from "vitest";
import { deferred } from "../../support/tasks.js";
import type { Contract } from "./case.js";

const MALFORMED: readonly unknown[] = [
  null,
  5,
  "text",
  [],
  {},
  { args: "x" },
  { carrier: 5, args: [1] },
  { args: [2], carrier: { baggage: 7 } },
];

export function storedTaskCases({ durable }: Contract): void {
  describe("what is stored", () => {
    durable("by others or damaged fails or runs without tags, and the worker goes on", async ({ rig }) => {
      const tasks = rig.manager({ concurrency: 1 });
      const seen: unknown[] = [];
      const task = tasks.task("known", (...args: unknown[]) => {
        seen.push([getTaskContext()?.taskId, getTaskContext()?.attempt, { ...getTaskContext()?.tags }, args[0]]);
      });
      const ids: string[] = [];
      for (const data of MALFORMED) ids.push(await rig.store.addForeign("known", data));
      const good = await tasks.addTask(task, ["good"], { tags: { plan: "pro" } });
      await rig.finish(tasks);
      expect(seen).toContainEqual([good, 0, { plan: "pro" }, "good"]);
      const ran = ids.map((id) => rig.named("process known").filter(({ attributes }) => attributes["task.id"] === id));
      expect(ran.map((spans) => spans.length)).toEqual(ids.map(() => 1));
      for (const [index, id] of ids.entries()) {
        const { "task.outcome": outcome, "task.attempt": attempt, ...attributes } = ran[index]?.[0]?.attributes ?? {};
        expect([attempt, Object.keys(attributes).filter((key) => key.startsWith("task.tag"))]).toEqual([0, []]);
        const state = await rig.store.stateOf(id);
        expect(outcome === "failure" ? ["failed"] : ["done", undefined]).toContain(state);
      }
    });

    durable("by a producer without this library is run with its data as the one argument", async ({ rig }) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      tasks.task("known", (...args: unknown[]) => void seen.push(getTaskContext()?.taskId, args));
      const id = await rig.store.addForeign("known", { order: 7 });
      await rig.finish(tasks);
      expect(seen).toEqual([id, [expect.objectContaining({ order: 7 })]]);
    });

    durable(
      "as a task whose arguments are damaged fails at once, saying so, whatever retries it has",
      async ({ rig }) => {
        const failed = deferred<unknown>();
        const tasks = rig.manager({ onFailure: ({ error }) => failed.resolve(error) });
        let runs = 0;
        tasks.task({ name: "known", retries: 5 }, () => {
          runs += 1;
        });
        const carrier = await claimToBe("known", "own-id");
        const id = await rig.store.addForeign("known", { args: "damaged", carrier });
        await rig.finish(tasks);
        expect(String(await failed.promise)).toMatch(/NonRetryableError: what is stored holds no arguments/);
        expect([runs, await rig.store.stateOf(id)]).toEqual([0, "failed"]);
      },
    );

    durable("under a carrier that claims to be another task is still the engine's", async ({ rig }) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      tasks.task("known", () => {
        const { taskId, funcName, attempt, tags } = getTaskContext() ?? {};
        seen.push([taskId, funcName, attempt, { ...tags }], propagation.getActiveBaggage()?.getAllEntries() ?? []);
      });
      tasks.task("other", () => void seen.push("the other task ran"));
      const claim = await claimToBe("other", "other-id");
      const id = await rig.store.addForeign("known", { args: [], carrier: claim, attempt: 3, id: "x", name: "other" });
      await rig.finish(tasks);
      const { attributes } = rig.span("process known");
      expect(attributes).toMatchObject({ "task.id": id, "task.name": "known", "task.attempt": 0 });
      expect(attributes["task.tag.plan"]).toBeUndefined();
      expect(seen).toEqual([[id, "known", 0, {}], []]);
    });

    durable(
      "under a name this worker does not know stays, and is run by one that does, as attempt 0",
      async ({ rig }) => {
        const [knows, doesNot] = [rig.manager(), rig.manager()];
        const seen: unknown[] = [];
        const task = knows.task(
          "new-name",
          () => void seen.push([getTaskContext()?.taskId, getTaskContext()?.attempt]),
        );
        const id = await knows.addTask(task);
        const ran = deferred();
        const old = doesNot.task("old-name", () => ran.resolve());
        await doesNot.work();
        await doesNot.addTask(old);
        await ran.promise;
        await doesNot.shutdown();
        expect(await rig.store.stateOf(id)).toMatch(/queued|delayed/);
        await rig.finish(knows);
        expect(seen).toEqual([[id, 0]]);
      },
    );
  });
}

/** A carrier that a later attempt of another task was sent with, beside a tag in the baggage. */
async function claimToBe(funcName: string, taskId: string): Promise<Carrier> {
  let claim: Carrier = {};
  await enqueueTask({ funcName, taskId, maxAttempts: 9 }, (carrier) => {
    const own = { ...JSON.parse(carrier["otel-taskflow"] ?? ""), attempt: 3 };
    claim = { ...carrier, "otel-taskflow": JSON.stringify(own), baggage: "task.tag.plan=enterprise" };
  });
  return claim;
}
