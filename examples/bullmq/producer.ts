import { trace } from "@opentelemetry/api";
import { sendEmail, tasks } from "./tasks.js";
import { startTelemetry } from "./telemetry.js";

// npx tsx examples/bullmq/producer.ts, then npx tsx examples/bullmq/worker.ts
const sdk = startTelemetry("shop");

await trace.getTracer("shop").startActiveSpan("POST /orders", async (request) => {
  await tasks.addTask(sendEmail, ["ada@example.com"], { tags: { plan: "enterprise" } });
  request.end();
});
await tasks.shutdown(); // the task stays in Redis
await sdk.shutdown();

// Output:
//
// trace 2c3adcd4667e9f1fa20a69d0c7a58207 · 2 spans · 480ms
//                      0      50ms    100ms  150ms   200ms  250ms   300ms  350ms   400ms  450ms
// POST /orders         ████████████████████████████████████████████████████████████████████████  480ms
// └─ enqueue sendEmail    █████████████████████████████████████████████████████████████████████  460ms
//      plan=enterprise
