import { propagation } from "@opentelemetry/api";
import { getTaskContext } from "otel-taskflow";
import { describe, expect } from "vitest";
import { claimingBody } from "../../support/claiming-body.js";
import type { Contract } from "./case.js";

export function untrustedDataCases({ test }: Contract): void {
  describe("untrusted data", () => {
    test("as an argument arrives as it was, and gives no tag, baggage, id, name or attempt", async ({ rig }) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      const task = tasks.task("take", (body: unknown) => {
        const { taskId, funcName, attempt, tags } = getTaskContext() ?? {};
        const baggage = propagation.getActiveBaggage()?.getAllEntries() ?? [];
        seen.push(
          [taskId, funcName, attempt, { ...tags }, body],
          baggage.map(([key]) => key),
        );
      });
      tasks.task("other", () => void seen.push("the other task ran"));
      const id = await tasks.addTask(task, [claimingBody], { tags: { plan: "free" } });
      await rig.finish(tasks);
      expect(seen).toEqual([[id, "take", 0, { plan: "free" }, claimingBody], ["task.tag.plan"]]);
      const { attributes } = rig.span("process take");
      expect(Object.keys(attributes).filter((key) => key.startsWith("task.tag."))).toEqual(["task.tag.plan"]);
    });
  });
}
