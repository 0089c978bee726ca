import { createRequire } from "node:module";
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import { TaskTreeExporter } from "otel-taskflow/sdk";

// Loaded by `node --import` before everything else: an instrumentation patches modules as they are loaded.
export const sdk = new NodeSDK({
  serviceName: "shop",
  instrumentations: [new HttpInstrumentation()],
  spanProcessors: [new SimpleSpanProcessor({ exporter: new TaskTreeExporter() })],
  metricReaders: [],
  logRecordProcessors: [],
});
sdk.start();

// A built-in module is patched when it is required, which modules that only import it never do.
createRequire(import.meta.url)("node:http");
