import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import bunyan from "bunyan";
import { getTaskContext, TaskManager, taskLog, taskLogFields } from "otel-taskflow";
import { TaskTreeExporter } from "otel-taskflow/sdk";

// Spans go to a backend if there is one, else to the terminal, beside the lines.
const terminal = new TaskTreeExporter({ stream: process.stderr });
const traceExporter = process.env.OTEL_EXPORTER_OTLP_ENDPOINT ? new OTLPTraceExporter() : terminal;
const sdk = new NodeSDK({ serviceName: "orders", traceExporter, metricReaders: [], logRecordProcessors: [] });
sdk.start();

// A stream of the type "raw" is given each record while the line is written, by child loggers as well.
const stream = {
  write(record: object) {
    const line = JSON.stringify({ ...record, ...taskLogFields() }, bunyan.safeCycles());
    process.stdout.write(`${line}\n`);
  },
};
const logger = bunyan.createLogger({ name: "orders", streams: [{ type: "raw", level: "info", stream }] });

// onLog makes each taskLog a line of bunyan as well.
const tasks = new TaskManager({ onLog: ({ level, message, fields }) => logger[level](fields, message) });

const chargeCard = tasks.task({ name: "chargeCard", retries: 1, delay: 50 }, async (orderId: number) => {
  taskLog("Charging card", { orderId });
  await askBank();
});

// Any code a task calls, with a logger that knows nothing of tasks.
async function askBank(): Promise<void> {
  if (getTaskContext()?.attempt === 0) throw new Error("The bank did not answer");
  logger.info("The bank agreed");
}

logger.info("Outside a task");
await tasks.addTask(chargeCard, [7], { tags: { plan: "enterprise" } });
await tasks.shutdown();
await sdk.shutdown();

// Output, apart from ids, times and the machine, and without the tree of spans that goes to stderr:
//
// {"name":"orders","hostname":"api-1","pid":3994,"level":30,"msg":"Outside a task","time":"2026-11-27T20:12:56.121Z","v":0}
// {"name":"orders","hostname":"api-1","pid":3994,"level":30,"orderId":7,"msg":"Charging card","time":"2026-11-27T20:12:56.143Z","v":0,"trace_id":"1b4003f15b5163e9df03913eae017454","span_id":"0b2a96f4f999a0b9","trace_flags":"01","task_id":"f372cf50-20ef-45a9-add2-fe21b7074e19","task_name":"chargeCard","task_attempt":0,"task_tags":{"plan":"enterprise"}}
// {"name":"orders","hostname":"api-1","pid":3994,"level":30,"orderId":7,"msg":"Charging card","time":"2026-11-27T20:12:56.217Z","v":0,"trace_id":"1b4003f15b5163e9df03913eae017454","span_id":"a589d9679c3309ac","trace_flags":"01","task_id":"f372cf50-20ef-45a9-add2-fe21b7074e19","task_name":"chargeCard","task_attempt":1,"task_tags":{"plan":"enterprise"}}
// {"name":"orders","hostname":"api-1","pid":3994,"level":30,"msg":"The bank agreed","time":"2026-11-27T20:12:56.218Z","v":0,"trace_id":"1b4003f15b5163e9df03913eae017454","span_id":"a589d9679c3309ac","trace_flags":"01","task_id":"f372cf50-20ef-45a9-add2-fe21b7074e19","task_name":"chargeCard","task_attempt":1,"task_tags":{"plan":"enterprise"}}
