import { type Baggage, context, propagation } from "@opentelemetry/api";
import { getTaskContext } from "../../../index.js";
import { equal } from "../assertions.js";
import { every, type Section } from "../case.js";

const RELATIONS = [
  ["parent", "arrives with", "t1"],
  ["link", "arrives with", "t1"],
  ["none", "stays behind at", undefined],
] as const;

export const baggageCases: Section = {
  title: "baggage",
  cases: [
    ...RELATIONS.map(([relation, arrives, tenant]) =>
      every(
        `relation ${relation}: the enqueuer's ${arrives} every attempt, the task's own tags arrive`,
        async (rig) => {
          const tasks = rig.manager({ relation });
          const seen: unknown[] = [];
          const task = tasks.task({ name: "look", retries: 1 }, () => {
            seen.push(activeBaggage());
            if (getTaskContext()?.attempt === 0) throw new Error("once more");
          });
          await within({ tenant: "t1" }, () => tasks.addTask(task, [], { tags: { plan: "pro", size: "s" } }));
          await rig.finish(tasks);
          const expected = { ...(tenant && { tenant }), "task.tag.plan": "pro", "task.tag.size": "s" };
          equal(seen, [expected, expected]);
        },
      ),
    ),

    every("baggage: false keeps the tags in the context, and out of the baggage", async (rig) => {
      const tasks = rig.manager({ baggage: false });
      const seen: unknown[] = [];
      const task = tasks.task("look", () => void seen.push({ ...getTaskContext()?.tags }, activeBaggage()));
      await within({ tenant: "t1" }, () => tasks.addTask(task, [], { tags: { plan: "pro" } }));
      await rig.finish(tasks);
      equal(seen, [{ plan: "pro" }, { tenant: "t1" }]);
    }),

    every("what claims to be a tag in the enqueuer's baggage is none, and goes no further", async (rig) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      const task = tasks.task("look", () => void seen.push({ ...getTaskContext()?.tags }, activeBaggage()));
      await within({ "task.tag.plan": "enterprise", tenant: "t1" }, () => tasks.addTask(task));
      await rig.finish(tasks);
      equal(seen, [{}, { tenant: "t1" }]);
      equal(rig.span("process look").attributes["task.tag.plan"], undefined);
    }),
  ],
};

function within<T>(entries: Record<string, string>, run: () => Promise<T>): Promise<T> {
  const values = Object.entries(entries).map(([key, value]) => [key, { value }]);
  const baggage: Baggage = propagation.createBaggage(Object.fromEntries(values));
  return context.with(propagation.setBaggage(context.active(), baggage), run);
}

function activeBaggage(): Record<string, string> {
  const entries = propagation.getActiveBaggage()?.getAllEntries() ?? [];
  return Object.fromEntries(entries.map(([key, { value }]) => [key, value]));
}
