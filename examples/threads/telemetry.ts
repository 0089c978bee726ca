import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace";
import { TaskTreeExporter } from "otel-taskflow/sdk";

// Imported on both sides: each thread and each process has an SDK of its own. In the terminal each side prints its own
// part of a trace, under the same trace id; a backend puts them together.
const exporter = process.env.OTEL_EXPORTER_OTLP_ENDPOINT ? new OTLPTraceExporter() : new TaskTreeExporter();

const spans = new BatchSpanProcessor({ exporter });

export const sdk = new NodeSDK({
  serviceName: "images",
  spanProcessors: [spans],
  metricReaders: [],
  logRecordProcessors: [],
});
sdk.start();

/** Sends what has ended so far. */
export async function flush(): Promise<void> {
  await spans.forceFlush();
  await exporter.forceFlush();
}
