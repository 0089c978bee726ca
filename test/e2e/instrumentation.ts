// Loaded by `node --import` before either service: every instrumentation there is, and OTLP for all three signals.
// Where to, in which encoding and as which service stands in OTEL_* variables.
import { DiagConsoleLogger, DiagLogLevel, diag } from "@opentelemetry/api";
import { getNodeAutoInstrumentations } from "@opentelemetry/auto-instrumentations-node";
import { BaggageLogRecordProcessor } from "@opentelemetry/baggage-log-record-processor";
import { BaggageSpanProcessor } from "@opentelemetry/baggage-span-processor";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { BatchLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace";
import { keepRetries, TaskLogRecordProcessor, TaskSpanProcessor } from "otel-taskflow/sdk";

diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN);

const requestHeaders = ["baggage"];
// the side that is called shows what its caller lets travel
const showsCaller = process.env.SHOWS_CALLER === "1";
const isOfTask = (key: string): boolean => key === "task.id" || key.startsWith("task.tag.");
const root = new TraceIdRatioBasedSampler(Number(process.env.SAMPLING_RATIO ?? 1));

export const sdk = new NodeSDK({
  instrumentations: getNodeAutoInstrumentations({
    "@opentelemetry/instrumentation-http": { headersToSpanAttributes: { server: { requestHeaders } } },
  }),
  sampler: keepRetries(new ParentBasedSampler({ root })),
  spanProcessors: [
    ...(showsCaller ? [new BaggageSpanProcessor(isOfTask)] : []),
    new TaskSpanProcessor(),
    new BatchSpanProcessor({ exporter: new OTLPTraceExporter() }),
  ],
  logRecordProcessors: [
    ...(showsCaller ? [new BaggageLogRecordProcessor(isOfTask)] : []),
    new TaskLogRecordProcessor(),
    new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() }),
  ],
});
sdk.start();
