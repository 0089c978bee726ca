import { NodeSDK } from "@opentelemetry/sdk-node";
import { SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import { TaskTreeExporter } from "otel-taskflow/sdk";

/** Prints this process's part of each trace. */
export function startTelemetry(serviceName: string): NodeSDK {
  const spanProcessors = [new SimpleSpanProcessor({ exporter: new TaskTreeExporter() })];
  const sdk = new NodeSDK({ serviceName, spanProcessors, metricReaders: [], logRecordProcessors: [] });
  sdk.start();
  return sdk;
}
