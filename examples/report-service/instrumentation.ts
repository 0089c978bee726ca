import { subscribe } from "node:diagnostics_channel";
import { createRequire } from "node:module";
import { context, DiagConsoleLogger, DiagLogLevel, diag } from "@opentelemetry/api";
import { getRPCMetadata } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { BatchSpanProcessor, SimpleSpanProcessor, type SpanProcessor } from "@opentelemetry/sdk-trace";
import type { FastifyInstance } from "fastify";
import { TaskTreeExporter } from "otel-taskflow/sdk";

// Loaded by `node --import` before everything else: an instrumentation patches modules as they are loaded.

diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN);

const spanProcessors: SpanProcessor[] = [new SimpleSpanProcessor({ exporter: new TaskTreeExporter() })];
if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT) {
  spanProcessors.push(new BatchSpanProcessor({ exporter: new OTLPTraceExporter() }));
}

export const sdk = new NodeSDK({
  serviceName: "report-service",
  instrumentations: [new HttpInstrumentation(), new UndiciInstrumentation()],
  spanProcessors,
  metricReaders: [],
  logRecordProcessors: [],
});
sdk.start();

// A built-in module is patched when it is required, which modules that only import it never do.
createRequire(import.meta.url)("node:http");

// Names server spans by their route, `POST /report`; the package @fastify/otel does this and more.
subscribe("fastify.initialization", (message) => {
  const { fastify } = message as { fastify: FastifyInstance };
  fastify.addHook("onRequest", async ({ routeOptions }) => {
    const rpc = getRPCMetadata(context.active());
    if (rpc !== undefined && routeOptions.url !== undefined) rpc.route = routeOptions.url;
  });
});
