import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import * as bullmq from "bullmq";
import { BullMQOtel } from "bullmq-otel";
import { getTaskContext } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { describe, expect, test } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { redisUrl } from "../../support/servers.js";
import { createTasks } from "../../support/tasks.js";
import { otherLinks, startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { type Lab, openLab } from "./lab.js";
import { onEachRoad, type Road } from "./roads.js";

const { url, unavailable } = await redisUrl();
if (url === undefined) describeUnavailable("beside bullmq-otel", unavailable);
else {
  const open = (options?: Partial<bullmq.QueueOptions>): Lab => openLab(bullmq, url, options);
  describe("beside bullmq-otel", () => onEachRoad(bullmq, (road) => cases(open, road)));
}

function cases(
  open: (options?: Partial<bullmq.QueueOptions>) => Lab,
  { addJob, addJobs, addElsewhere, withTask }: Road,
): void {
  const traceIds = (...spans: ReadableSpan[]): unknown[] => spans.map((span) => span.spanContext().traceId);
  const linksOf = (span: ReadableSpan): unknown[] =>
    otherLinks(span).map(({ context, attributes }) => [context.spanId, attributes?.["task.link"]]);

  /** One job of a queue and a worker, each with bullmq-otel or without. */
  async function runOne(
    on: { queue?: boolean; worker?: boolean },
    options: { relation?: "link" } = {},
  ): Promise<TestTelemetry & { lab: Lab; id: string | undefined }> {
    const telemetry = startTelemetry();
    const lab = open(on.queue ? { telemetry: new BullMQOtel() } : {});
    lab.work(
      withTask(async () => void getTaskContext()),
      on.worker ? { telemetry: new BullMQOtel() } : {},
    );
    const { id } = await addJob(lab.queue, "job", {}, { tags: { plan: "pro" }, ...options });
    await lab.reaches("completed", id);
    return { ...telemetry, lab, id };
  }

  test.each([{ queue: true }, { worker: true }, { queue: true, worker: true }])(
    "an attempt is a child of its enqueue span with telemetry on %j",
    async (on) => {
      const { span } = await runOne(on);
      const [enqueued, attempt] = [span("enqueue job"), span("process job")];
      expect(attempt.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
      expect(attempt.attributes).toMatchObject({ "task.tag.plan": "pro", "task.outcome": "success" });
    },
  );

  test("with both, all is one trace: its span of adding within ours, and no link to what is there anyway", async () => {
    const { span, lab } = await runOne({ queue: true, worker: true });
    const [enqueued, attempt] = [span("enqueue job"), span("process job")];
    const [added, processed] = [span(`add ${lab.queue.name}.job`), span(`process ${lab.queue.name}`)];
    expect(added.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
    expect(new Set(traceIds(enqueued, attempt, added, processed)).size).toBe(1);
    expect(linksOf(attempt)).toEqual([]);
  });

  test("with the worker's alone, which starts a trace of its own, the attempt is linked to it", async () => {
    const { span, lab } = await runOne({ worker: true });
    const [attempt, processed] = [span("process job"), span(`process ${lab.queue.name}`)];
    expect(traceIds(attempt)).not.toEqual(traceIds(processed));
    expect(linksOf(attempt)).toEqual([[processed.spanContext().spanId, "surrounding"]]);
  });

  test("with the relation link, the attempt is linked to both", async () => {
    const { span, lab } = await runOne({ queue: true, worker: true }, { relation: "link" });
    const [enqueued, attempt, processed] = [
      span("enqueue job"),
      span("process job"),
      span(`process ${lab.queue.name}`),
    ];
    expect(linksOf(attempt)).toEqual([
      [enqueued.spanContext().spanId, "enqueue"],
      [processed.spanContext().spanId, "surrounding"],
    ]);
  });

  test("a job of a plain queue.add is in the trace that bullmq-otel has stored with it", async () => {
    const telemetry = startTelemetry();
    const lab = open({ telemetry: new BullMQOtel() });
    lab.work(
      withTask(async () => {}),
      { telemetry: new BullMQOtel() },
    );
    const { id } = await addElsewhere(lab.queue, "plain", {});
    await lab.reaches("completed", id);
    const added = telemetry.span(`add ${lab.queue.name}.plain`);
    const attempt = telemetry.span("process plain");
    expect([attempt.parentSpanContext?.spanId, linksOf(attempt)]).toEqual([added.spanContext().spanId, []]);
  });

  test("its metadata is left alone, and jobs added in bulk keep their own traces", async () => {
    const telemetry = startTelemetry();
    const lab = open({ telemetry: new BullMQOtel() });
    lab.work(
      withTask(async () => {}),
      { telemetry: new BullMQOtel() },
    );
    const opts = { tags: { plan: "pro" } };
    const jobs = await addJobs(lab.queue, [
      { name: "job", data: {}, opts },
      { name: "job", data: {}, opts },
    ]);
    for (const { id } of jobs) await lab.reaches("completed", id);
    const enqueued = telemetry.named("enqueue job").map((span) => span.spanContext().spanId);
    const attempts = telemetry.named("process job").map(({ parentSpanContext }) => parentSpanContext?.spanId);
    expect(attempts).toEqual(enqueued);
    const { traceId } = telemetry.span(`addBulk ${lab.queue.name}`).spanContext();
    expect(jobs.map(({ opts }) => opts.telemetry?.metadata)).toEqual(Array(2).fill(expect.stringContaining(traceId)));
  });

  test("nothing is counted twice", async () => {
    const metrics = startMetrics();
    const telemetry = new BullMQOtel({ enableMetrics: true });
    const lab = open({ telemetry });
    lab.work(
      withTask(async () => {}),
      { telemetry },
    );
    const { id } = await addJob(lab.queue, "job", {});
    await lab.reaches("completed", id);
    const measured = await metrics.collect();
    const counts = ["task.enqueued", "task.finished"].map((name) => measured.get(name)?.dataPoints[0]?.value);
    expect(counts).toEqual([1, 1]);
    expect(measured.get("task.attempt.duration")?.dataPoints[0]?.value).toMatchObject({ count: 1 });
  });

  test("the engine works with it on its queue and its worker", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const more = { telemetry: new BullMQOtel() };
    const { Queue, Worker } = bullmq;
    const { connection, queue } = lab;
    const tasks = createTasks({
      engine: bullmqEngine({ Queue, Worker, connection, queue: queue.name, queueOptions: more, workerOptions: more }),
    });
    const flaky = tasks.task({ name: "flaky", retries: 1 }, () => {
      if (getTaskContext()?.attempt === 0) throw new Error("not yet");
    });
    await tasks.addTask(flaky);
    await tasks.work();
    await tasks.idle();
    const attempts = telemetry.named("process flaky");
    const parent = telemetry.span("enqueue flaky").spanContext().spanId;
    expect(attempts.map(({ parentSpanContext }) => parentSpanContext?.spanId)).toEqual([parent, parent]);
    expect(attempts.map(linksOf)).toEqual([[], [[attempts[0]?.spanContext().spanId, "previous_attempt"]]]);
  });
}
