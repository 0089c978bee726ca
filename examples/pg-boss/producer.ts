import { trace } from "@opentelemetry/api";
import { sendEmail, tasks } from "./tasks.js";
import { startTelemetry } from "./telemetry.js";

// npx tsx examples/pg-boss/producer.ts, then npx tsx examples/pg-boss/worker.ts
const sdk = startTelemetry("shop");

await trace.getTracer("shop").startActiveSpan("POST /orders", async (request) => {
  await tasks.addTask(sendEmail, ["ada@example.com"], { tags: { plan: "enterprise" } });
  request.end();
});
await tasks.shutdown(); // the task stays in PostgreSQL
await sdk.shutdown();

// Output:
//
// trace bbcc1d07e842b671497ff835911e7a60 · 2 spans · 366ms
//                      0         50ms      100ms     150ms    200ms     250ms     300ms
// POST /orders         ████████████████████████████████████████████████████████████████████████  366ms
// └─ enqueue sendEmail  ███████████████████████████████████████████████████████████████████████  361ms
//      plan=enterprise
//
