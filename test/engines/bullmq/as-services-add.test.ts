import { type DiagLogger, DiagLogLevel, diag, trace } from "@opentelemetry/api";
import { enqueueTask, getTaskContext } from "otel-taskflow";
import { addFlow, addJob, addJobs, withCarrier, withTask } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { startTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Job, type Lab } from "./lab.js";
import { describeRoads } from "./roads.js";

type Flow = ReturnType<Lab["flow"]>;

/** Calls `add` in a span of this name, and resolves to the id of its trace and what `add` resolved to. */
function inSpan<T>(name: string, add: () => Promise<T>) {
  return trace.getTracer("test").startActiveSpan(name, async (span) => {
    const added = await add();
    span.end();
    return [span.spanContext().traceId, added] as const;
  });
}

await describeRoads(
  "a job that is added again with its options",
  (open, _bullmq, { addJob, addJobs, addFlow, withTask }) => {
    const old = { attempts: 2, tags: { plan: "pro" } };

    test("is a task of its own in the trace of who adds it, without the old tags", async () => {
      const telemetry = startTelemetry();
      const lab = open();
      const seen: unknown[] = [];
      lab.work(withTask(async () => void seen.push({ ...getTaskContext()?.tags })));
      const [, { id }] = await inSpan("first", () => addJob(lab.queue, "job", { n: 1 }, old));
      const { name, data, opts } = await lab.reaches("completed", id);
      const [second, again] = await inSpan("second", () => addJob(lab.queue, name, data, opts));
      await lab.reaches("completed", again.id);
      expect(seen).toEqual([{ plan: "pro" }, {}]);
      const [, run] = telemetry.named("process job");
      expect([run?.spanContext().traceId, run?.attributes["task.id"]]).toEqual([second, again.id]);
    });

    // it comes from no store, and holds the very carrier that was made for it
    test("is one also where it is the job that addJob, addJobs or addFlow resolved to", async () => {
      const telemetry = startTelemetry();
      const lab = open();
      const first = await addJob(lab.queue, "job", {}, old);
      const [second] = await addJobs(lab.queue, [{ ...first, name: "job", data: {} }]);
      const { job: third } = await addFlow(lab.flow(), { name: "job", queueName: lab.queue.name, opts: second?.opts });
      await addJob(lab.queue, "job", {}, third.opts);
      expect(telemetry.named("enqueue job")).toHaveLength(4);
      const carriers = (await lab.queue.getJobs()).map(({ opts }) => JSON.stringify(opts));
      expect(new Set(carriers).size).toBe(4);
    });

    test("keeps everything else that is in them, and changes nothing of the caller's", async () => {
      const lab = open();
      const theirs = { telemetry: { metadata: "{}" }, traceparent: "theirs", "otel-taskflow": { old: "carrier" } };
      const opts = Object.freeze({ ...theirs, attempts: 2 });
      const job = await addJob(lab.queue, "job", {}, opts);
      const bulk = Object.freeze([Object.freeze({ name: "job", data: {}, opts, mine: 1 })]);
      const [inBulk] = await addJobs(lab.queue, bulk);
      expect(opts["otel-taskflow"]).toEqual({ old: "carrier" });
      for (const id of [job.id, inBulk?.id]) {
        const stored = (await lab.queue.getJob(id ?? ""))?.opts as Record<string, unknown> | undefined;
        expect(stored).toMatchObject({ traceparent: "theirs", attempts: 2 });
        expect(stored?.["otel-taskflow"]).not.toHaveProperty("old");
      }
    });
  },
);

await describeVersions("an add that passes through several wrappers", (open) => {
  test("makes one enqueue span, with the tags of the outermost", async () => {
    const telemetry = startTelemetry();
    const metrics = startMetrics();
    const lab = open();
    const { queue } = lab;
    const inner = {
      name: queue.name,
      add: (name: string, data: unknown, options?: object) =>
        addJob(queue, name, data, { ...options, tags: { by: "inner" } }),
      addBulk: (jobs: { name: string; data: unknown; opts?: object }[]) => addJobs(queue, jobs),
    };
    const seen: unknown[] = [];
    lab.work(withTask(async (job: Job) => void seen.push([job.name, getTaskContext()?.tags.by, "tags" in job.opts])));
    const { id } = await addJob(inner, "one", {}, { tags: { by: "outer" } });
    const [bulk] = await addJobs(inner, [{ name: "bulk", data: {}, opts: { tags: { by: "outer" } } }]);
    for (const added of [id, bulk?.id]) await lab.reaches("completed", added);
    expect(seen).toEqual([
      ["one", "outer", false],
      ["bulk", "outer", false],
    ]);
    expect(telemetry.spans().filter(({ name }) => name.startsWith("enqueue"))).toHaveLength(2);
    expect((await metrics.collect()).get("task.enqueued")?.dataPoints.map(({ value }) => value)).toEqual([1, 1]);
  });

  test("makes one, where enqueueTask and withCarrier are the outermost", async () => {
    const telemetry = startTelemetry();
    const { queue } = open();
    const job = await enqueueTask({ funcName: "job" }, (carrier) =>
      addJob(queue, "job", {}, withCarrier({ attempts: 2 }, carrier)),
    );
    await addJob(queue, "job", {}, job.opts);
    expect(telemetry.named("enqueue job")).toHaveLength(2);
  });

  test("makes one for each job that a subclass makes of it", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const mirror = {
      name: lab.queue.name,
      add: async (name: string, data: unknown, options?: object) => {
        const job = await addJob(lab.queue, name, data, options);
        await addJob(lab.queue, `${name} again`, data, options);
        return job;
      },
      addBulk: async () => [],
    };
    await addJob(mirror, "job", {});
    expect(telemetry.spans().map(({ name }) => name)).toEqual(
      expect.arrayContaining(["enqueue job", "enqueue job again"]),
    );
  });
});

await describeRoads("a repeated job", (open, bullmq, { addJob, addJobs, withTask }) => {
  // version 6 has no such option, but jobs of its schedulers do
  const repeating: object = { repeat: { every: 100 } };

  test("has no enqueue span and no carrier", async () => {
    const telemetry = startTelemetry();
    const { queue } = open();
    const { id } = await addJob(queue, "tick", {}, repeating);
    const [bulk] = await addJobs(queue, [{ name: "tick", data: {}, opts: repeating }]);
    expect(telemetry.spans()).toEqual([]);
    for (const added of [id, bulk?.id]) {
      expect((await queue.getJob(added ?? ""))?.opts).not.toHaveProperty("otel-taskflow");
    }
  });

  test("does not bring along the carrier of a job that it is a copy of", async () => {
    const { queue } = open();
    const { opts } = await addJob(queue, "once", {}, { attempts: 2 });
    const { id } = await addJob(queue, "tick", {}, { ...opts, ...repeating });
    const stored = await queue.getJob(id ?? "");
    expect(stored?.opts).toMatchObject({ attempts: 2 });
    expect(stored?.opts).not.toHaveProperty("otel-taskflow");
  });

  // version 6 repeats by its schedulers alone
  test.skipIf(!("repeat" in bullmq.Queue.prototype))("is a trace of its own in each run, with its tags", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    const worker = lab.work(withTask(async () => void seen.push({ ...getTaskContext()?.tags })));
    const tags = { plan: "pro" };
    const boot = () => inSpan("boot", () => addJob(lab.queue, "tick", { tags }, { ...repeating, tags }));
    const traces = [(await boot())[0], (await boot())[0]];
    await vi.waitFor(() => expect(seen.length).toBeGreaterThanOrEqual(3), 10_000);
    await worker.close();
    expect(seen.slice(0, 3)).toEqual(Array(3).fill(tags));
    for (const run of telemetry.named("process tick").slice(0, 3)) traces.push(run.spanContext().traceId);
    expect(new Set(traces).size).toBe(5);
    expect(await lab.queue.getJobSchedulersCount()).toBe(1);
  });
});

test.each([
  ["nothing", undefined],
  ["a value", 7],
  ["jobs of another shape", { id: 7, opts: null, children: 1 }],
  ["fewer jobs", []],
])("a mock that returns %s, at once or later, breaks nothing", async (_what, value) => {
  const told = vi.fn();
  diag.setLogger({ error: told, warn: told, info: told, debug: told, verbose: told } as DiagLogger, DiagLogLevel.WARN);
  onTestFinished(() => diag.disable());
  const telemetry = startTelemetry();
  for (const returned of [value, Promise.resolve(value)]) {
    // a mock may lack everything, be it of the types that this library asks for
    const mock = { add: () => returned, addBulk: () => returned, getJob: () => ({}) } as unknown as Lab["queue"];
    const bulk = [{ jobId: "a" }, {}].map((opts) => ({ name: "bulk", data: {}, opts }));
    const flow = { name: "flow", queueName: "queue", children: [{ name: "flow", queueName: "queue" }] };
    const adds = [
      addJob(mock, "job", {}, { jobId: "id" }),
      addJobs(mock, bulk),
      addFlow(mock as unknown as Flow, flow),
    ];
    expect(await Promise.all<unknown>(adds)).toEqual([value, value, value]);
  }
  await vi.waitFor(() => expect(telemetry.spans()).toHaveLength(10));
  expect(told).not.toHaveBeenCalled();
});
