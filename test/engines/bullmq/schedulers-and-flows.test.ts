import { enqueueTask, getTaskContext } from "otel-taskflow";
import { withCarrier } from "otel-taskflow/bullmq";
import { expect, test, vi } from "vitest";
import { startTelemetry } from "../../support/telemetry.js";
import type { Job } from "./lab.js";
import { describeRoads } from "./roads.js";

await describeRoads("a scheduler", (open, _bullmq, { withTask }) => {
  const tags = { plan: "pro" };

  test("gives every job its tags, and with the relation link a trace of its own", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    const worker = lab.work(
      withTask(async () => {
        seen.push([getTaskContext()?.taskId.startsWith("repeat:often:"), { ...getTaskContext()?.tags }]);
      }),
    );
    await enqueueTask({ funcName: "often", tags, relation: "link", engine: "bullmq" }, (carrier) => {
      const opts = withCarrier({ attempts: 2 }, carrier);
      return lab.queue.upsertJobScheduler("often", { every: 100 }, { name: "often", data: {}, opts });
    });
    await vi.waitFor(() => expect(seen.length).toBeGreaterThanOrEqual(3), 10_000);
    await worker.close();
    const [enqueued, attempts] = [telemetry.span("enqueue often"), telemetry.named("process often").slice(0, 3)];
    const traces = [enqueued, ...attempts].map((span) => span.spanContext().traceId);
    expect(new Set(traces).size).toBe(4);
    expect(attempts.map(({ links }) => links[0]?.context.spanId)).toEqual(Array(3).fill(enqueued.spanContext().spanId));
    expect(seen.slice(0, 3)).toEqual(Array(3).fill([true, tags]));
    // counted from each job's own time, not from the first one's
    expect(Math.max(...attempts.map(({ attributes }) => Number(attributes["task.wait.duration"])))).toBeLessThan(5);
  });

  test("without any carrier still gives its jobs a context", async () => {
    const lab = open();
    const seen: unknown[] = [];
    lab.work(withTask(async () => void seen.push(getTaskContext()?.funcName)));
    await lab.queue.upsertJobScheduler("plain", { every: 100 }, { name: "tick" });
    await vi.waitFor(() => expect(seen[0]).toBe("tick"), 10_000);
  });
});

await describeRoads("a flow", (open, _bullmq, { withTask }) => {
  test("brings each of its jobs its own tags, and waiting for children is a deferral", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: Record<string, unknown> = {};
    lab.work(
      withTask(async (job: Job) => {
        seen[job.name] = { ...getTaskContext()?.tags };
        return job.name === "parent" ? Object.values(await job.getChildrenValues()) : "done";
      }),
    );
    const queueName = lab.queue.name;
    const flow = await enqueueTask({ funcName: "parent", tags: { of: "parent" } }, (parent) =>
      enqueueTask({ funcName: "child", tags: { of: "child" } }, (child) =>
        lab.flow().add({
          ...{ name: "parent", queueName, data: { a: 1 }, opts: withCarrier({}, parent) },
          children: [{ name: "child", queueName, data: { b: 2 }, opts: withCarrier({ attempts: 2 }, child) }],
        }),
      ),
    );
    const job = await lab.reaches("completed", flow.job.id);
    expect([job.data, job.returnvalue, seen]).toEqual([
      { a: 1 },
      ["done"],
      { parent: { of: "parent" }, child: { of: "child" } },
    ]);
    for (const name of ["parent", "child"]) {
      const parentId = telemetry.span(`process ${name}`).parentSpanContext?.spanId;
      expect(parentId).toBe(telemetry.span(`enqueue ${name}`).spanContext().spanId);
    }
  });

  test("a job that waits for the children it has added is deferred, and goes on as the same attempt", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    const process = withTask(async (job: Job, token?: string) => {
      if (job.name === "child") return;
      seen.push(getTaskContext()?.attempt);
      if (seen.length > 1) return;
      const parent = { id: job.id ?? "", queue: job.queueQualifiedName };
      await lab.queue.add("child", {}, { parent });
      if (await job.moveToWaitingChildren(token ?? "")) throw new lab.bullmq.WaitingChildrenError();
    });
    lab.work(process);
    const { id } = await lab.queue.add("parent", {});
    await lab.reaches("completed", id);
    const outcomes = telemetry.named("process parent").map(({ attributes }) => attributes["task.outcome"]);
    expect([seen, outcomes]).toEqual([
      [0, 0],
      ["deferred", "success"],
    ]);
  });
});
