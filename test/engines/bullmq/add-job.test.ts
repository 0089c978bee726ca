import { context, propagation, trace } from "@opentelemetry/api";
import { getTaskContext, isTaskConfigError } from "otel-taskflow";
import { addJob, addJobs } from "otel-taskflow/bullmq";
import { expect, test } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { startTelemetry } from "../../support/telemetry.js";
import { describeVersions } from "./lab.js";
import { describeRoads } from "./roads.js";

const three = ["a", "b", "c"].map((tag) => ({ name: "bulk", data: { tag }, opts: { attempts: 2, tags: { tag } } }));

await describeRoads("addJob", (open, _bullmq, { addJob, withTask }) => {
  test("adds what queue.add does: the same job, the same options, the data untouched", async () => {
    const { queue } = open();
    const data = { order: 7, nested: [{ a: 1 }, null] };
    const options = { attempts: 4, backoff: { type: "fixed", delay: 5 }, delay: 60_000, jobId: "order-7" };
    const job = await addJob(queue, "charge", data, { ...options, tags: { plan: "pro" } });
    expect([job.id, job.name, await job.getState()]).toEqual(["order-7", "charge", "delayed"]);
    const stored = await queue.getJob("order-7");
    expect([stored?.data, stored?.opts]).toMatchObject([data, options]);
    expect(Object.keys(stored?.opts ?? {}).filter((key) => !(key in options))).toEqual(["otel-taskflow"]);
    expect(stored?.data).toEqual(data);
  });

  test("makes a span of it, under the caller's, that knows the id BullMQ has given", async () => {
    const telemetry = startTelemetry();
    const { queue } = open();
    const job = await trace.getTracer("test").startActiveSpan("request", async (span) => {
      const added = await addJob(queue, "charge", {}, { tags: { plan: "pro" } });
      span.end();
      return added;
    });
    const span = telemetry.span("enqueue charge");
    expect(span.attributes).toEqual({
      "task.id": job.id,
      "task.name": "charge",
      "task.engine": "bullmq",
      "task.tag.plan": "pro",
      "messaging.system": "bullmq",
      "messaging.operation.name": "enqueue",
      "messaging.operation.type": "send",
      "messaging.destination.name": queue.name,
      "messaging.message.id": job.id,
    });
    expect(span.parentSpanContext?.spanId).toBe(telemetry.span("request").spanContext().spanId);
  });

  test("brings tags, trace and baggage to the processor", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    lab.work(
      withTask(async () => {
        const baggage = propagation.getActiveBaggage()?.getAllEntries() ?? [];
        seen.push(getTaskContext()?.tags, baggage.map(([key, { value }]) => `${key}=${value}`).toSorted());
      }),
    );
    const tenant = propagation.setBaggage(context.active(), propagation.createBaggage({ tenant: { value: "t1" } }));
    const { id } = await context.with(tenant, () => addJob(lab.queue, "look", {}, { tags: { plan: "pro" } }));
    await lab.reaches("completed", id);
    expect(seen).toEqual([{ plan: "pro" }, ["task.tag.plan=pro", "tenant=t1"]]);
    const [enqueued, attempt] = [telemetry.span("enqueue look"), telemetry.span("process look")];
    expect(attempt.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
    expect(attempt.attributes).toMatchObject({ "task.tag.plan": "pro", "task.id": id, "messaging.message.id": id });
  });

  test("starts a trace of its own for each attempt with the relation link", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(async () => {}));
    const { id } = await addJob(lab.queue, "later", {}, { relation: "link" });
    await lab.reaches("completed", id);
    const [enqueued, attempt] = [telemetry.span("enqueue later"), telemetry.span("process later")];
    expect(attempt.spanContext().traceId).not.toBe(enqueued.spanContext().traceId);
    expect(attempt.links.map(({ context }) => context.spanId)).toEqual([enqueued.spanContext().spanId]);
  });

  test("rejects as queue.add does, untouched, on its span as well", async () => {
    const telemetry = startTelemetry();
    const { queue } = open();
    await expect(addJob(queue, "odd", {}, { jobId: "7", tags: { plan: "pro" } })).rejects.toThrow(
      "Custom Id cannot be integers",
    );
    expect(telemetry.span("enqueue odd").status).toEqual({ code: 2, message: "Custom Id cannot be integers" });
    expect(await queue.getJobCounts()).toMatchObject({ waiting: 0 });
  });

  test("needs no SDK", async () => {
    const lab = open();
    const seen: unknown[] = [];
    lab.work(withTask(async () => void seen.push({ ...getTaskContext()?.tags })));
    const { id } = await addJob(lab.queue, "look", {}, { tags: { plan: "pro" } });
    await lab.reaches("completed", id);
    expect(seen).toEqual([{ plan: "pro" }]);
  });

  test("of names and ids that the core would refuse stops no job", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(async () => {}));
    const jobId = "x".repeat(600);
    await addJob(lab.queue, "", {}, { jobId });
    await lab.reaches("completed", jobId);
    expect(telemetry.span("process unnamed").attributes["task.id"]).toBe("x".repeat(512));
  });
});

await describeRoads("addJobs", (open, _bullmq, { addJobs, withTask }) => {
  test("adds in bulk, each job with its own span, tags and carrier", async () => {
    const telemetry = startTelemetry();
    const metrics = startMetrics();
    const lab = open();
    const seen: unknown[] = [];
    lab.work(withTask(async (job) => void seen.push([job.id, job.data.tag, getTaskContext()?.tags.tag])));
    const jobs = await addJobs(lab.queue, three);
    for (const { id } of jobs) await lab.reaches("completed", id);
    expect(seen).toEqual(jobs.map(({ id }, n) => [id, "abc"[n], "abc"[n]]));
    const spans = telemetry.named("enqueue bulk");
    expect(spans.map(({ attributes }) => attributes["task.id"])).toEqual(jobs.map(({ id }) => id));
    const parents = telemetry.named("process bulk").map(({ parentSpanContext }) => parentSpanContext?.spanId);
    expect(parents).toEqual(spans.map((span) => span.spanContext().spanId));
    const counted = (await metrics.collect()).get("task.enqueued")?.dataPoints.map(({ value }) => value);
    expect(counted).toEqual([3]);
  });

  test("fails all spans when the bulk is refused", async () => {
    const telemetry = startTelemetry();
    const { queue } = open();
    const [first, ...others] = three.map((job) => ({ ...job, opts: { ...job.opts } }));
    const bad = { name: "bulk", data: { tag: "z" }, opts: { ...first?.opts, attempts: 2, jobId: "7" } };
    await expect(addJobs(queue, [...others, bad])).rejects.toThrow("Custom Id cannot be integers");
    expect(telemetry.named("enqueue bulk").map(({ status }) => status.code)).toEqual([2, 2, 2]);
    expect(await queue.getJobCounts()).toMatchObject({ waiting: 0 });
  });

  test("of no job adds none", async () => {
    expect(await addJobs(open().queue, [])).toEqual([]);
  });
});

await describeVersions("a call by hand, with options of its own,", (open) => {
  test("keeps tags out of the baggage where it is told to", async () => {
    startTelemetry();
    const { queue } = open();
    const job = await addJob(queue, "look", {}, { tags: { plan: "pro", size: "s" }, baggage: ["size"] });
    expect((await queue.getJob(job.id ?? ""))?.opts).toMatchObject({
      "otel-taskflow": { baggage: "task.tag.size=s" },
    });
  });

  test("refuses an illegal tag or relation, and adds nothing", async () => {
    const telemetry = startTelemetry();
    const { queue } = open();
    await expect(addJob(queue, "x", {}, { tags: { "no spaces": "x" } })).rejects.toSatisfy(isTaskConfigError);
    await expect(addJob(queue, "x", {}, { relation: "sibling" as "link" })).rejects.toSatisfy(isTaskConfigError);
    expect([await queue.getJobCounts(), telemetry.spans()]).toMatchObject([{ waiting: 0 }, []]);
  });

  test("in bulk adds nothing where one job has an illegal tag", async () => {
    const telemetry = startTelemetry();
    const { queue } = open();
    const bad = { name: "bulk", data: { tag: "z" }, opts: { tags: { "no key": "x" } } };
    await expect(addJobs(queue, [...three, bad])).rejects.toSatisfy(isTaskConfigError);
    expect([await queue.getJobCounts(), telemetry.spans()]).toMatchObject([{ waiting: 0 }, []]);
  });
});
