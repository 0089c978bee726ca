import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { getTaskContext, TaskManager, taskLog, taskLogFields } from "otel-taskflow";
import { TaskTreeExporter } from "otel-taskflow/sdk";
import winston from "winston";

// Spans go to a backend if there is one, else to the terminal, beside the lines.
const terminal = new TaskTreeExporter({ stream: process.stderr });
const traceExporter = process.env.OTEL_EXPORTER_OTLP_ENDPOINT ? new OTLPTraceExporter() : terminal;
const sdk = new NodeSDK({ serviceName: "orders", traceExporter, metricReaders: [], logRecordProcessors: [] });
sdk.start();

const { combine, json, timestamp } = winston.format;
const logger = winston.createLogger({
  format: combine(timestamp(), json()),
  transports: new winston.transports.Console(),
});

// The ids of task and span on every line, read while it is written. Not in a format: that runs when the stream gets
// to the line, under load in another task. Fields of your own stay beside them; logger.configure() sets those anew.
let meta: object | undefined;
Object.defineProperty(logger, "defaultMeta", {
  get: () => ({ ...meta, ...taskLogFields() }),
  set: (own: object | undefined) => {
    meta = own;
  },
});

// onLog makes each taskLog a line of winston as well.
const tasks = new TaskManager({ onLog: ({ level, message, fields }) => logger.log(level, message, fields) });

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

// Output, apart from ids and times, and without the tree of spans that goes to stderr:
//
// {"level":"info","message":"Outside a task","timestamp":"2026-11-22T13:41:41.606Z"}
// {"level":"info","message":"Charging card","orderId":7,"span_id":"76e39bfcb2152e38","task_attempt":0,"task_id":"35d96c6f-8168-431d-a55f-5916b5e2170d","task_name":"chargeCard","task_tags":{"plan":"enterprise"},"timestamp":"2026-11-22T13:41:41.610Z","trace_flags":"01","trace_id":"4fd13fe4d3bff7ac50438d98d8cba8b6"}
// {"level":"info","message":"Charging card","orderId":7,"span_id":"fbe5b9454b21d6b7","task_attempt":1,"task_id":"35d96c6f-8168-431d-a55f-5916b5e2170d","task_name":"chargeCard","task_tags":{"plan":"enterprise"},"timestamp":"2026-11-22T13:41:41.663Z","trace_flags":"01","trace_id":"4fd13fe4d3bff7ac50438d98d8cba8b6"}
// {"level":"info","message":"The bank agreed","span_id":"fbe5b9454b21d6b7","task_attempt":1,"task_id":"35d96c6f-8168-431d-a55f-5916b5e2170d","task_name":"chargeCard","task_tags":{"plan":"enterprise"},"timestamp":"2026-11-22T13:41:41.663Z","trace_flags":"01","trace_id":"4fd13fe4d3bff7ac50438d98d8cba8b6"}
