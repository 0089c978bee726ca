import { getTaskContext } from "otel-taskflow";
import { withTask } from "otel-taskflow/bullmq";
import { expect, test, vi } from "vitest";
import { addBulkThrough, addThrough, flowThrough } from "../../../src/adapters/bullmq-add.js";
import { type DoorOptions, doorOf, type JobView } from "../../../src/adapters/door.js";
import { startMetrics } from "../../support/metrics.js";
import { startTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Lab } from "./lab.js";

/** The queue's three ways to add a job, as they are wrapped where no call site says anything. */
function adderOf({ queue, flow }: Lab, options: DoorOptions = {}) {
  const door = doorOf("withTasks()", options);
  const producer = flow();
  return {
    add: (name: string, data: unknown, options?: object) =>
      addThrough(door, queue, name, data, options, (own) => queue.add(name, data, own as object)),
    addBulk: (jobs: object[]) => addBulkThrough(door, queue, jobs, (own) => queue.addBulk(own as never)),
    addFlows: (trees: object[]) => flowThrough(door, trees, (own) => producer.addBulk(own as never)),
  };
}

await describeVersions("a door for what is added", (open) => {
  test("asks for tags, label and relation of each job", async () => {
    const telemetry = startTelemetry();
    const metrics = startMetrics();
    const lab = open();
    const views: JobView[] = [];
    const { add, addBulk, addFlows } = adderOf(lab, {
      tags: (job) => {
        views.push(job);
        return { n: Reflect.get(Object(job.data), "n") };
      },
      name: () => "order",
      relation: "link",
    });
    await add("a", { n: 1 }, { jobId: "id-1" });
    await addBulk([{ name: "b", data: { n: 2 } }]);
    const queueName = lab.queue.name;
    await addFlows([{ name: "c", queueName, data: { n: 3 }, children: [{ name: "d", queueName, data: { n: 4 } }] }]);
    const common = { library: "bullmq", queue: queueName, attempt: 0 };
    expect(views).toEqual([
      { ...common, name: "a", id: "id-1", data: { n: 1 } },
      { ...common, name: "b", id: undefined, data: { n: 2 } },
      { ...common, name: "c", id: undefined, data: { n: 3 } },
      { ...common, name: "d", id: undefined, data: { n: 4 } },
    ]);
    const spans = telemetry.named("enqueue order").map(({ attributes }) => attributes);
    const seen = spans.map((attributes) => [attributes["task.name"], attributes["task.tag.n"]]);
    expect(seen.toSorted()).toEqual([
      ["a", "1"],
      ["b", "2"],
      ["c", "3"],
      ["d", "4"],
    ]);
    const points = (await metrics.collect()).get("task.enqueued")?.dataPoints;
    expect(points?.map(({ attributes, value }) => [attributes["task.name"], value])).toEqual([["order", 4]]);
    const seenByHandler: unknown[] = [];
    lab.work(withTask(async () => void seenByHandler.push([getTaskContext()?.funcName, getTaskContext()?.tags.n])));
    await vi.waitFor(() => expect(seenByHandler).toHaveLength(4), 10_000);
    expect(seenByHandler.toSorted()).toEqual([
      ["a", "1"],
      ["b", "2"],
      ["c", "3"],
      ["d", "4"],
    ]);
    const traces = [...telemetry.named("enqueue order"), ...telemetry.spans().filter(isAttempt)];
    expect(new Set(traces.map((span) => span.spanContext().traceId)).size).toBe(7);
  });

  test("leaves alone what is ignored or repeated, and the caller's own keys in the options", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const { add, addBulk, addFlows } = adderOf(lab, {
      tags: () => ({ plan: "pro" }),
      ignore: ({ name }) => name === "ping",
    });
    const queueName = lab.queue.name;
    const ignored = [await add("ping", {}, { attempts: 2 }), ...(await addBulk([{ name: "ping", data: {} }]))];
    const [flow] = await addFlows([{ name: "ping", queueName, children: [{ name: "ping", queueName }] }]);
    if (flow !== undefined) ignored.push(flow.job);
    ignored.push(await add("tick", {}, { repeat: { every: 60_000 } }));
    for (const job of ignored) expect(job.opts).not.toHaveProperty("otel-taskflow");
    expect(telemetry.spans()).toEqual([]);
    const { id } = await add("job", {}, { tags: ["mine"], relation: "mine" });
    const stored = await lab.queue.getJob(id ?? "");
    expect(stored?.opts).toMatchObject({ tags: ["mine"], relation: "mine" });
  });

  test("is passed once, be it wrapped twice", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const inner = adderOf(lab, { tags: () => ({ by: "inner" }) });
    const outer = doorOf("withTasks()", { tags: () => ({ by: "outer" }) });
    const { name } = lab.queue;
    await addThrough(outer, lab.queue, "job", {}, undefined, (own) => inner.add("job", {}, own as object));
    await addBulkThrough(outer, lab.queue, [{ name: "job" }], (own) => inner.addBulk(own as object[]));
    const tree = [{ name: "job", queueName: name, children: [{ name: "job", queueName: name }] }];
    await flowThrough(outer, tree, (own) => inner.addFlows(own as object[]));
    const spans = telemetry.named("enqueue job");
    expect(spans.map(({ attributes }) => attributes["task.tag.by"])).toEqual(Array(4).fill("outer"));
  });

  test("throws at once what a mock throws, and returns what it returns", () => {
    const telemetry = startTelemetry();
    const door = doorOf("withTasks()", {});
    const fail = (): never => {
      throw new Error("mocked");
    };
    const ways = [
      (mock: () => unknown) => addThrough(door, {}, "job", {}, undefined, mock),
      (mock: () => unknown) => addBulkThrough(door, {}, [{ name: "job" }], mock),
      (mock: () => unknown) => addBulkThrough(door, {}, undefined, mock),
      (mock: () => unknown) => flowThrough(door, { name: "job", children: [null] }, mock),
      (mock: () => unknown) => flowThrough(door, null, mock),
    ];
    for (const way of ways) {
      expect(() => way(fail)).toThrow("mocked");
      expect([way(() => undefined), way(() => 7)]).toEqual([undefined, 7]);
    }
    return vi.waitFor(() => expect(telemetry.named("enqueue job")).toHaveLength(9));
  });
});

const isAttempt = ({ name }: { name: string }): boolean => name.startsWith("process ");
