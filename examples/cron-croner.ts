import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { Cron } from "croner";
import { TaskManager, taskLog } from "otel-taskflow";
import { TaskTreeExporter } from "otel-taskflow/sdk";

// Spans go to a backend if there is one, else to the terminal.
const traceExporter = process.env.OTEL_EXPORTER_OTLP_ENDPOINT ? new OTLPTraceExporter() : new TaskTreeExporter();
const sdk = new NodeSDK({ serviceName: "shop", traceExporter, metricReaders: [], logRecordProcessors: [] });
sdk.start();

const tasks = new TaskManager();
const expired = [["cart 1", "cart 2"], ["cart 3"]];
let outages = 1;

// Each run is a task of its own, in a trace of its own.
const sweepCarts = tasks.callback(
  { name: "sweepCarts", retries: 2, delay: 200 },
  async () => {
    taskLog("connecting");
    if (outages-- > 0) throw new Error("the database is down");
    taskLog("swept", { carts: expired.shift() });
  },
  { tags: { trigger: "cron" } },
);

const job = new Cron("* * * * * *", { maxRuns: 2 }, sweepCarts);

// This example ends when there is nothing left to do; a service stops on SIGTERM, in this order too.
process.once("beforeExit", async () => {
  job.stop();
  await tasks.shutdown();
  await sdk.shutdown();
});

// Output, apart from ids and times:
//
// trace dfb38d75b6d2e2047532d438b14260e5 · 3 spans · 298ms
//                       0     50ms   100ms 150ms  200ms 250ms
// enqueue sweepCarts    ██                                       17ms
// │ trigger=cron
// ├─ process sweepCarts ░░░█·························           5.6ms  attempt 0 of 3 ↻ retry in 200ms
// │    waited 19ms
// │      +21ms  info  connecting
// │      +26ms  ✗ Error: the database is down
// └─ process sweepCarts                                      ▏  702µs  attempt 1 of 3 ✓ success
//       +297ms  info  connecting
//       +298ms  info  swept carts=["cart 1","cart 2"]
//
// trace c22c231458ed03feab3d9863586bd957 · 2 spans · 1.3ms
//                       0      200µs  400µs  600µs  800µs  1ms
// enqueue sweepCarts    █████                                          144µs
// │ trigger=cron
// └─ process sweepCarts ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░██████████  285µs  attempt 0 of 3 ✓ success
//       +1.2ms  info  connecting
//       +1.3ms  info  swept carts=["cart 3"]
