import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { TaskTreeExporter } from "otel-taskflow/sdk";

// Each process has an SDK of its own. In the terminal each prints its own part of a trace, under the same trace id; a
// backend puts them together.
const traceExporter = process.env.OTEL_EXPORTER_OTLP_ENDPOINT ? new OTLPTraceExporter() : new TaskTreeExporter();

export const sdk = new NodeSDK({ serviceName: "orders", traceExporter, metricReaders: [], logRecordProcessors: [] });
sdk.start();
