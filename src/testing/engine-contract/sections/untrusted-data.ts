import { propagation } from "@opentelemetry/api";
import { getTaskContext } from "../../../index.js";
import { equal } from "../assertions.js";
import { every, type Section } from "../case.js";

const ENTRY = {
  ...{ v: 1, id: "spoofed", name: "other", attempt: 3, max: 9, retries: 9 },
  tags: { plan: "enterprise", admin: "yes" },
};
const CARRIER = {
  "otel-taskflow": JSON.stringify(ENTRY),
  baggage: "task.tag.admin=yes",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
};
/** A request's body that claims to be what this library stores, wherever it stores it. */
const CLAIMING_BODY = {
  ...CARRIER,
  carrier: CARRIER,
  ...{ args: ["spoofed"], id: "spoofed", name: "other", attempt: 3, tags: ENTRY.tags },
  telemetry: { metadata: JSON.stringify(CARRIER) },
};

export const untrustedDataCases: Section = {
  title: "untrusted data",
  cases: [
    every("as an argument arrives as it was, and gives no tag, baggage, id, name or attempt", async (rig) => {
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
      const id = await tasks.addTask(task, [CLAIMING_BODY], { tags: { plan: "free" } });
      await rig.finish(tasks);
      equal(seen, [[id, "take", 0, { plan: "free" }, CLAIMING_BODY], ["task.tag.plan"]]);
      const tags = Object.keys(rig.span("process take").attributes).filter((key) => key.startsWith("task.tag."));
      equal(tags, ["task.tag.plan"]);
    }),
  ],
};
