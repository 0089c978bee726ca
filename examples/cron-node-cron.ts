import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { schedule } from "node-cron";
import { TaskManager, taskLog } from "otel-taskflow";
import { TaskTreeExporter } from "otel-taskflow/sdk";

// Spans go to a backend if there is one, else to the terminal.
const traceExporter = process.env.OTEL_EXPORTER_OTLP_ENDPOINT ? new OTLPTraceExporter() : new TaskTreeExporter();
const sdk = new NodeSDK({ serviceName: "shop", traceExporter, metricReaders: [], logRecordProcessors: [] });
sdk.start();

const tasks = new TaskManager();
let outages = 1;

// The first run waits for its retry while the second one is under way: two tasks, two traces.
const sendReport = tasks.callback(
  { name: "sendReport", retries: 1, delay: 1_500 },
  async () => {
    taskLog("sending the report");
    if (outages-- > 0) throw new Error("the mail server is down");
  },
  { tags: { trigger: "cron" } },
);

const job = schedule("* * * * * *", sendReport, { maxExecutions: 2 });

// This example ends when there is nothing left to do; a service stops on SIGTERM, in this order too.
process.once("beforeExit", async () => {
  await job.stop();
  await tasks.shutdown();
  await sdk.shutdown();
});

// Output, apart from ids and times:
//
// trace c5ab3725dc8717f631efde51c29c025f · 3 spans · 1.52s
//                       0            500ms        1s
// enqueue sendReport    ▏                                        1.2ms
// │ trigger=cron
// ├─ process sendReport ▏······································  2.5ms  attempt 0 of 2 ↻ retry in 1.5s
// │     +3.9ms  info  sending the report
// │     +5.5ms  ✗ Error: the mail server is down
// └─ process sendReport                                       ▏  587µs  attempt 1 of 2 ✓ success
//       +1.52s  info  sending the report
//
// trace 7f191c89a60998f2a6d5daffcf50c39f · 2 spans · 1.1ms
//                       0       200µs   400µs   600µs   800µs   1ms
// enqueue sendReport    █████████                                      232µs
// │ trigger=cron
// └─ process sendReport                                         █████  133µs  attempt 0 of 2 ✓ success
//       +1.1ms  info  sending the report
