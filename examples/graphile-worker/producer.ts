import { trace } from "@opentelemetry/api";
import { chargeCard, tasks } from "./tasks.js";
import { startTelemetry } from "./telemetry.js";

// npx tsx examples/graphile-worker/producer.ts, then npx tsx examples/graphile-worker/worker.ts
const sdk = startTelemetry("shop");

await trace.getTracer("shop").startActiveSpan("POST /orders", async (request) => {
  await tasks.addTask(chargeCard, [42], { tags: { currency: "EUR" } });
  request.end();
});
await tasks.shutdown(); // the task stays in PostgreSQL
await sdk.shutdown();

// Output:
//
// trace 6a2f8f0d2087ef2403c7fc926492c68f · 2 spans · 468ms
//                       0       50ms   100ms   150ms  200ms   250ms  300ms   350ms   400ms
// POST /orders          ███████████████████████████████████████████████████████████████████████  468ms
// └─ enqueue chargeCard ███████████████████████████████████████████████████████████████████████  464ms
//      currency=EUR
//
