import { getTaskContext, runAttempt } from "otel-taskflow";
import { addJob, carrierOf } from "otel-taskflow/bullmq";
import { expect, test } from "vitest";
import { startTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Job, type Lab } from "./lab.js";

const TRACE = "1".repeat(32);
const traceparent = `00-${TRACE}-${"3".repeat(16)}-01`;

/** The next job, as a service takes it that runs its jobs itself. */
async function pull({ bullmq, queue, connection }: Lab): Promise<Job> {
  const worker = new bullmq.Worker(queue.name, undefined, { connection, autorun: false });
  const job = await worker.getNextJob("token", { block: false });
  await worker.close();
  if (job === undefined) throw new Error("no job is due");
  return job;
}

await describeVersions("carrierOf", (open) => {
  test("has the attempt of a job that was fetched by hand in its producer's trace, with its tags", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const { id } = await addJob(lab.queue, "mail", {}, { tags: { plan: "pro" }, attempts: 3 });
    const job = await pull(lab);
    const seen = await runAttempt({ carrier: carrierOf(job), taskId: job.id, attempt: job.attemptsMade }, () =>
      getTaskContext(),
    );
    expect(seen).toMatchObject({ taskId: id, funcName: "mail", attempt: 0, tags: { plan: "pro" } });
    const [enqueued, processed] = [telemetry.span("enqueue mail"), telemetry.span("process mail")];
    expect(processed.spanContext().traceId).toBe(enqueued.spanContext().traceId);
  });

  test.each([
    ["bullmq-otel's", { telemetry: { metadata: JSON.stringify({ traceparent, "otel-taskflow": "{}" }) } }],
    ["one among the options", { traceparent }],
    ["one beside which ours is damaged", { "otel-taskflow": 5, traceparent }],
  ])("falls back to the carrier of another tracing: %s", async (_whose, options: object) => {
    startTelemetry();
    const lab = open();
    await lab.queue.add("mail", {}, options);
    expect(carrierOf(await pull(lab))).toEqual({ traceparent });
  });

  test("is undefined for a job without one, and empty for one that is damaged", async () => {
    const lab = open();
    await lab.queue.add("mail", {});
    expect(carrierOf(await pull(lab))).toBeUndefined();
    for (const damaged of [5, null, "text"]) {
      expect(carrierOf({ opts: { "otel-taskflow": damaged } })).toEqual({});
    }
  });

  test("takes what stands for a job in a unit test", () => {
    const broken = Object.defineProperty({}, "opts", {
      get: () => {
        throw new Error("not loaded");
      },
    });
    for (const job of [{}, { opts: undefined }, broken]) expect(carrierOf(job)).toBeUndefined();
  });
});
