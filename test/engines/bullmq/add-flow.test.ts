import { trace } from "@opentelemetry/api";
import { getTaskContext, isTaskConfigError } from "otel-taskflow";
import { addFlow } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { startTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Job, type Lab } from "./lab.js";
import { describeRoads } from "./roads.js";

/** A second queue, for the children of flows. */
function childQueue({ bullmq, connection }: Lab): string {
  const queue = new bullmq.Queue(`children-${crypto.randomUUID()}`, { connection });
  onTestFinished(async () => {
    await queue.obliterate({ force: true });
    await queue.close();
  });
  return queue.name;
}

function workOn({ bullmq, connection }: Lab, queueName: string, process: (job: Job) => Promise<unknown>): void {
  const worker = new bullmq.Worker(queueName, process, { connection });
  onTestFinished(() => worker.close(true));
}

await describeRoads("addFlow", (open, _bullmq, { addFlow, withTask }) => {
  test("gives each job of the tree an enqueue span with its own id, queue and tags, in one trace", async () => {
    const telemetry = startTelemetry();
    const metrics = startMetrics();
    const lab = open();
    const [queueName, childName] = [lab.queue.name, childQueue(lab)];
    const added = await addFlow(lab.flow(), {
      ...{ name: "parent", queueName, data: { a: 1 }, opts: { attempts: 2, tags: { of: "parent" } } },
      children: [
        { name: "child", queueName: childName, data: { b: 2 }, opts: { tags: { of: "child" } } },
        { name: "child", queueName, children: [{ name: "leaf", queueName: childName }] },
      ],
    });
    const leaf = added.children?.[1]?.children?.[0]?.job;
    const spans = ["parent", "child", "leaf"].flatMap((name) => telemetry.named(`enqueue ${name}`));
    expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
    expect(spans.map(({ attributes }) => [attributes["task.id"], attributes["task.tag.of"]]).toSorted()).toEqual(
      [
        [added.job.id, "parent"],
        [added.children?.[0]?.job.id, "child"],
        [added.children?.[1]?.job.id, undefined],
        [leaf?.id, undefined],
      ].toSorted(),
    );
    expect(telemetry.span("enqueue leaf").attributes["messaging.destination.name"]).toBe(childName);
    const points = (await metrics.collect()).get("task.enqueued")?.dataPoints ?? [];
    const counted = points.map(({ attributes, value }) => [
      ...[attributes["task.name"], attributes["messaging.destination.name"], value],
    ]);
    expect(counted.toSorted()).toEqual(
      [
        ["child", childName, 1],
        ["child", queueName, 1],
        ["leaf", childName, 1],
        ["parent", queueName, 1],
      ].toSorted(),
    );
    expect((await lab.queue.getJob(added.job.id ?? ""))?.opts).toMatchObject({ attempts: 2 });
  });

  test("brings each handler its tags, and children that it adds are in its trace", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const [queueName, childName, flow] = [lab.queue.name, childQueue(lab), lab.flow()];
    const seen: Record<string, unknown> = {};
    const look = ({ name }: Job): void => {
      seen[name] = { ...getTaskContext()?.tags };
    };
    workOn(
      lab,
      childName,
      withTask(async (job: Job) => look(job)),
    );
    lab.work(
      withTask(async (job: Job, token?: string) => {
        look(job);
        if (job.data.step === 2) return;
        await job.updateData({ step: 2 });
        const opts = { parent: { id: job.id ?? "", queue: job.queueQualifiedName }, tags: { of: "late" } };
        await addFlow(flow, { name: "late", queueName: childName, opts });
        if (await job.moveToWaitingChildren(token ?? "")) throw new lab.bullmq.WaitingChildrenError();
      }),
    );
    const children = [{ name: "early", queueName: childName }];
    const { job } = await addFlow(flow, { name: "top", queueName, data: {}, opts: { tags: { of: "top" } }, children });
    await lab.reaches("completed", job.id);
    expect(seen).toEqual({ top: { of: "top" }, early: {}, late: { of: "late" } });
    const [first] = telemetry.named("process top");
    expect(telemetry.span("enqueue late").parentSpanContext?.spanId).toBe(first?.spanContext().spanId);
    const late = telemetry.span("process late");
    expect(late.spanContext().traceId).toBe(telemetry.span("enqueue top").spanContext().traceId);
  });

  test("changes nothing of the caller's, and takes what is frozen", async () => {
    const lab = open();
    const freeze = <T extends object>(node: T): T => Object.freeze(node);
    const opts = freeze({ attempts: 3, tags: { plan: "pro" }, removeOnFail: true });
    const child = freeze({ name: "child", queueName: lab.queue.name, data: freeze({ n: 1 }), opts });
    const flow = freeze({ name: "parent", queueName: lab.queue.name, opts, children: [child, child] });
    const before = JSON.stringify(flow);
    const added = await addFlow(lab.flow(), flow);
    expect(JSON.stringify(flow)).toBe(before);
    const carriers = [added.job, ...(added.children ?? []).map(({ job }) => job)].map((job) => {
      const { "otel-taskflow": carrier, ...others } = job.opts as Record<string, unknown>;
      expect(others).toMatchObject({ attempts: 3, removeOnFail: true });
      expect(others).not.toHaveProperty("tags");
      return carrier;
    });
    expect(new Set(carriers).size).toBe(3);
  });

  test("is in the caller's trace, and passes on the producer's own options", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const queueName = lab.queue.name;
    const queuesOptions = { [queueName]: { defaultJobOptions: { attempts: 7 } } };
    const added = await trace.getTracer("test").startActiveSpan("request", async (span) => {
      const result = await addFlow(lab.flow(), { name: "job", queueName }, { queuesOptions });
      span.end();
      return result;
    });
    expect(added.job.opts.attempts).toBe(7);
    const parent = telemetry.span("enqueue job").parentSpanContext?.spanId;
    expect(parent).toBe(telemetry.span("request").spanContext().spanId);
  });

  test("rejects as the producer does, on every span", async () => {
    const lab = open();
    const queueName = lab.queue.name;
    const flow = { name: "job", queueName, children: [{ name: "job", queueName, opts: { jobId: "7" } }] };
    const refusal = await lab
      .flow()
      .add(flow)
      .catch((error: Error) => error.message);
    const telemetry = startTelemetry();
    const ended = addFlow(lab.flow(), flow).catch((error: Error) => error.message);
    expect(await ended).toBe(refusal);
    expect(telemetry.named("enqueue job").map(({ status }) => status.code)).toEqual([2, 2]);
  });
});

await describeVersions("addFlow, with tags of its own,", (open) => {
  test("adds nothing where one job has an illegal tag", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const queueName = lab.queue.name;
    const children = [{ name: "child", queueName, opts: { tags: { "no key": "x" } } }];
    await expect(addFlow(lab.flow(), { name: "job", queueName, children })).rejects.toSatisfy(isTaskConfigError);
    expect([await lab.queue.getJobCounts(), telemetry.spans()]).toMatchObject([{ waiting: 0 }, []]);
  });
});
