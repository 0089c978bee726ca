import { Queue, Worker } from "bullmq";
import { getTaskContext, NonRetryableError, taskLog } from "otel-taskflow";
import { addJob, withTask } from "otel-taskflow/bullmq";
import { startTelemetry } from "./telemetry.js";

// A queue and a worker of one's own, with tags, context and spans: npx tsx examples/bullmq/own-queue.ts
const sdk = startTelemetry("shop");
const connection = { url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" };
const queue = new Queue<{ order: number }>("payments", { connection });

const worker = new Worker<{ order: number }>(
  "payments",
  withTask(async (job) => {
    taskLog("Charging", { order: job.data.order, plan: getTaskContext()?.tags.plan });
    if (getTaskContext()?.attempt === 0) throw new Error("the bank did not answer");
    throw new NonRetryableError("the card has expired"); // the third attempt will not run
  }),
  { connection },
);

await addJob(queue, "charge", { order: 7 }, { attempts: 3, backoff: 200, tags: { plan: "enterprise" } });
await new Promise((resolve) => {
  worker.on("failed", (job, error) => error.name === "NonRetryableError" && resolve(job));
});
await worker.close();
await queue.close();
await sdk.shutdown();

// Output:
//
// trace 7becc181838811b3117bdbd2fcbcaedc · 3 spans · 363ms
//                   0      50ms  100ms  150ms  200ms  250ms 300ms
// enqueue charge    ██████████████                                     107ms
// │ plan=enterprise
// ├─ process charge  ░░░░░░░░░░░░░░░░▏                                 1.5ms  attempt 0 of 3 ↻ retry
// │    waited 122ms
// │     +127ms  info  Charging order=7 plan=enterprise
// │     +127ms  ✗ Error: the bank did not answer
// └─ process charge                                                 ▏  265µs  attempt 1 of 3 ✗ failure
//       +363ms  info  Charging order=7 plan=enterprise
//       +363ms  ✗ NonRetryableError: the card has expired
