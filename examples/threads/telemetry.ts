import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace";
import { TaskTreeExporter } from "otel-taskflow/sdk";

// Imported on both sides: each thread and each process has an SDK of its own. In the terminal each side prints its own
// part of a trace, under the same trace id; a backend puts them together.
const exporter = process.env.OTEL_EXPORTER_OTLP_ENDPOINT ? new OTLPTraceExporter() : new TaskTreeExporter();

const spans = new BatchSpanProcessor({ exporter });

const sdk = new NodeSDK({
  serviceName: "images",
  spanProcessors: [spans],
  metricReaders: [],
  logRecordProcessors: [],
});
sdk.start();

/** Sends what has ended so far. */
export async function flush(): Promise<void> {
  await spans
    .forceFlush()
    .then(() => exporter.forceFlush())
    .catch(reportUnsent);
}

/** Sends what is left. */
export async function stopTelemetry(): Promise<void> {
  await sdk.shutdown().catch(reportUnsent);
}

// Where no collector listens, the work is done all the same: one line, and no attempt and no process fails by it.
function reportUnsent({ message, code }: { message?: string; code?: string | number }): void {
  console.error(`The telemetry was not sent: ${message || code}`);
}
