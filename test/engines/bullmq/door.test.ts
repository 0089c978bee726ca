import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { enqueueTask, getTaskContext, type TaskContext } from "otel-taskflow";
import { addJob } from "otel-taskflow/bullmq";
import { expect, test } from "vitest";
import { processorOf } from "../../../src/adapters/bullmq-run.js";
import { type DoorOptions, doorOf, type JobView } from "../../../src/adapters/door.js";
import { startMetrics } from "../../support/metrics.js";
import { collectDiag, startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Job, type Lab } from "./lab.js";

/** Works on a queue through a door with these options; returns the tasks that its jobs ran as. */
function workThrough(lab: Lab, options: DoorOptions, handler?: (job: Job) => unknown): (TaskContext | undefined)[] {
  const seen: (TaskContext | undefined)[] = [];
  const process = async (job: Job): Promise<unknown> => {
    seen.push(getTaskContext());
    return await handler?.(job);
  };
  lab.work(processorOf(doorOf("test", options), process as never) as never);
  return seen;
}

async function attemptOf(telemetry: TestTelemetry, lab: Lab, id: string | undefined): Promise<ReadableSpan> {
  await lab.reaches("completed", id);
  return telemetry.span("process job");
}

await describeVersions("the settings of a door", (open) => {
  test("show each function the job", async () => {
    const lab = open();
    const views: JobView[] = [];
    workThrough(lab, { relation: (job) => void views.push(job) as undefined });
    const { id } = await addJob(lab.queue, "job", { tenant: 7 });
    await lab.reaches("completed", id);
    const queue = lab.queue.name;
    expect(views).toEqual([{ library: "bullmq", queue, name: "job", id, data: { tenant: 7 }, attempt: 0 }]);
  });

  test("name: what spans and metrics show, while the task keeps the job's name", async () => {
    const telemetry = startTelemetry();
    const metrics = startMetrics();
    const lab = open();
    const seen = workThrough(lab, { name: (job) => job.name.split("-")[0] });
    const { id } = await addJob(lab.queue, "job-17", {});
    const { attributes } = await attemptOf(telemetry, lab, id);
    expect([attributes["task.name"], seen[0]?.funcName]).toEqual(["job-17", "job-17"]);
    const points = (await metrics.collect()).get("task.finished")?.dataPoints ?? [];
    expect(points.map((point) => point.attributes["task.name"])).toEqual(["job"]);
  });

  test("tags: asked for a job without our carrier alone", async () => {
    startTelemetry();
    const lab = open();
    const seen = workThrough(lab, { tags: ({ data }) => ({ tenant: (data as { tenant: number }).tenant }) });
    const jobs = [await lab.queue.add("job", { tenant: 7 }), await addJob(lab.queue, "job", { tenant: 8 })];
    for (const { id } of jobs) await lab.reaches("completed", id);
    expect(seen.map((task) => task?.tags)).toEqual([{ tenant: "7" }, {}]);
  });

  test("ignore: such a job has no task and no span", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen = workThrough(lab, { ignore: ({ name }) => name === "noise" }, () => "done");
    const { id } = await lab.queue.add("noise", {});
    expect((await lab.reaches("completed", id)).returnvalue).toBe("done");
    expect([seen, telemetry.spans()]).toEqual([[undefined], []]);
  });

  test.each([["link" as const], [() => "link" as const]])("relation: %s", async (relation) => {
    const telemetry = startTelemetry();
    const lab = open();
    workThrough(lab, { relation });
    const { id } = await addJob(lab.queue, "job", {});
    const { parentSpanContext, links } = await attemptOf(telemetry, lab, id);
    expect([parentSpanContext, links.length]).toEqual([undefined, 1]);
  });

  test("carrier: a service's own, with its trace, and with tags where this library made it", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen = workThrough(lab, {
      carrier: ({ data }) => (data as { trace: never }).trace,
      tags: () => ({ a: "b" }),
    });
    const send = (trace: object): Promise<{ id?: string | undefined }> => lab.queue.add("job", { trace });
    const { id } = await enqueueTask({ funcName: "sent", tags: { plan: "pro" } }, send);
    const { parentSpanContext } = await attemptOf(telemetry, lab, id);
    expect(parentSpanContext?.spanId).toBe(telemetry.span("enqueue sent").spanContext().spanId);
    expect([seen[0]?.tags, seen[0]?.funcName, seen[0]?.taskId]).toEqual([{ plan: "pro" }, "job", id]);
  });

  test("retryStatus: unset, where an attempt will be retried, and an error where it gave up", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    workThrough(lab, { retryStatus: "unset" }, () => Promise.reject(new Error("no")));
    const { id } = await addJob(lab.queue, "job", {}, { attempts: 2 });
    await lab.reaches("failed", id);
    const runs = telemetry
      .named("process job")
      .map(({ attributes, status, events }) => [
        attributes["task.outcome"],
        status.code,
        events.length,
        attributes["error.type"],
      ]);
    expect(runs).toEqual([
      ["retry", 0, 1, "Error"],
      ["failure", 2, 1, "Error"],
    ]);
  });

  test("that throw, or answer late, are told once each and change nothing", async () => {
    const telemetry = startTelemetry();
    const told = collectDiag();
    const lab = open();
    const fail = (): never => {
      throw new Error("of the service");
    };
    const late = (async () => "late") as never;
    workThrough(lab, { name: fail, tags: fail, ignore: fail, relation: late, carrier: late });
    for (const _ of [1, 2]) await lab.reaches("completed", (await lab.queue.add("job", {})).id);
    expect(telemetry.named("process job")).toHaveLength(2);
    expect(told).toHaveLength(5);
  });
});
