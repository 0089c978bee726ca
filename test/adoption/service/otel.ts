// The set-up of OpenTelemetry that the service has, with the line for tasks where TASKS is set. It also writes down, for
// the test, what is to be seen at each step of the service.

import { subscribe } from "node:diagnostics_channel";
import { appendFileSync } from "node:fs";
import { DiagConsoleLogger, DiagLogLevel, diag, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { PinoInstrumentation } from "@opentelemetry/instrumentation-pino";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace";
import { getTaskContext, taskLogFields } from "otel-taskflow";
import { TaskInstrumentation } from "otel-taskflow/instrumentation";

const { TASKS, STEPS = "" } = process.env;

diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN);

const sdk = new NodeSDK({
  instrumentations: [
    new HttpInstrumentation(),
    new UndiciInstrumentation(),
    new PinoInstrumentation({ logHook: (_span, line) => Object.assign(line, taskLogFields()) }),
    ...(TASKS === undefined ? [] : [new TaskInstrumentation()]),
  ],
  spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter(), scheduledDelayMillis: 100 })],
});
sdk.start();
process.once("beforeExit", () => sdk.shutdown());

subscribe("service.step", (step) => {
  const { taskId, funcName, attempt } = getTaskContext() ?? {};
  const traceId = trace.getActiveSpan()?.spanContext().traceId;
  appendFileSync(
    STEPS,
    `${JSON.stringify({ ...Object(step), task: taskId && { taskId, funcName, attempt }, traceId })}\n`,
  );
});
