import { propagation } from "@opentelemetry/api";
import { type Carrier, enqueueTask, getTaskContext } from "../../../index.js";
import { contains, equal, includes } from "../assertions.js";
import { durable, type Section } from "../case.js";
import { counted, deferred } from "../doubles.js";

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

export const storedTaskCases: Section = {
  title: "what is stored",
  cases: [
    durable(
      "by others or damaged fails or runs without tags, and the worker goes on",
      async (rig) => {
        const tasks = rig.manager({ concurrency: 1 });
        const seen: unknown[] = [];
        const task = tasks.task("known", (...args: unknown[]) => {
          seen.push([getTaskContext()?.taskId, getTaskContext()?.attempt, { ...getTaskContext()?.tags }, args[0]]);
        });
        const ids: string[] = [];
        for (const data of MALFORMED) ids.push(await rig.addForeign("known", data));
        const good = await tasks.addTask(task, ["good"], { tags: { plan: "pro" } });
        await rig.finish(tasks);
        contains(seen, [good, 0, { plan: "pro" }, "good"]);
        for (const id of ids) {
          const [span, ...others] = rig.named("process known").filter(({ attributes }) => attributes["task.id"] === id);
          equal([span === undefined, others], [false, []]);
          const { "task.outcome": outcome, "task.attempt": attempt, ...attributes } = span?.attributes ?? {};
          equal([attempt, Object.keys(attributes).filter((key) => key.startsWith("task.tag"))], [0, []]);
          if (outcome === "failure") await rig.isStored(id, "failed");
          else await rig.isStored(id, "done", undefined);
        }
      },
      "addForeign",
    ),

    durable(
      "by a producer without this library is run with its data as the one argument",
      async (rig) => {
        const tasks = rig.manager();
        const seen: { taskId: unknown; args: unknown[] }[] = [];
        tasks.task("known", (...args: unknown[]) => void seen.push({ taskId: getTaskContext()?.taskId, args }));
        const id = await rig.addForeign("known", { order: 7 });
        await rig.finish(tasks);
        const [ran, ...again] = seen;
        equal([ran?.taskId, ran?.args.length, again], [id, 1, []]);
        includes(Object(ran?.args[0]), { order: 7 });
      },
      "addForeign",
    ),

    durable(
      "as a task whose arguments are damaged fails at once, saying so, whatever retries it has",
      async (rig) => {
        const failed = deferred<unknown>();
        const tasks = rig.manager({ onFailure: ({ error }) => failed.resolve(error) });
        const run = counted();
        tasks.task({ name: "known", retries: 5 }, run);
        const carrier = await claimToBe("known", "own-id");
        const id = await rig.addForeign("known", { args: "damaged", carrier });
        await rig.finish(tasks);
        const said = String(await failed.promise);
        equal(said.includes("NonRetryableError: what is stored holds no arguments"), true);
        equal(run.calls, 0);
        await rig.isStored(id, "failed");
      },
      "addForeign",
    ),

    durable(
      "under a carrier that claims to be another task is still the engine's",
      async (rig) => {
        const tasks = rig.manager();
        const seen: unknown[] = [];
        tasks.task("known", () => {
          const { taskId, funcName, attempt, tags } = getTaskContext() ?? {};
          seen.push([taskId, funcName, attempt, { ...tags }], propagation.getActiveBaggage()?.getAllEntries() ?? []);
        });
        tasks.task("other", () => void seen.push("the other task ran"));
        const carrier = await claimToBe("other", "other-id");
        const id = await rig.addForeign("known", { args: [], carrier, attempt: 3, id: "x", name: "other" });
        await rig.finish(tasks);
        const { attributes } = rig.span("process known");
        includes(attributes, { "task.id": id, "task.name": "known", "task.attempt": 0, "task.tag.plan": undefined });
        equal(seen, [[id, "known", 0, {}], []]);
      },
      "addForeign",
    ),

    durable("under a name this worker does not know stays, and is run by one that does, as attempt 0", async (rig) => {
      const [knows, doesNot] = [rig.manager(), rig.manager()];
      const seen: unknown[] = [];
      const note = (): void => void seen.push([getTaskContext()?.taskId, getTaskContext()?.attempt]);
      const id = await knows.addTask(knows.task("new-name", note));
      const ran = deferred();
      const old = doesNot.task("old-name", () => ran.resolve());
      await doesNot.work();
      await doesNot.addTask(old);
      await ran.promise;
      await doesNot.shutdown();
      await rig.isStored(id, "queued", "delayed");
      await rig.finish(knows);
      equal(seen, [[id, 0]]);
    }),
  ],
};

/** A carrier that a later attempt of another task was sent with, beside a tag in the baggage. */
async function claimToBe(funcName: string, taskId: string): Promise<Carrier> {
  let claim: Carrier = {};
  await enqueueTask({ funcName, taskId, maxAttempts: 9 }, (carrier) => {
    const own = { ...JSON.parse(carrier["otel-taskflow"] ?? ""), attempt: 3 };
    claim = { ...carrier, "otel-taskflow": JSON.stringify(own), baggage: "task.tag.plan=enterprise" };
  });
  return claim;
}
