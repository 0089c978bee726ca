// The file with which an application sets up OpenTelemetry. With LATE, it starts when it is told to; with HOOK=no, ES
// modules are imported without OpenTelemetry's hook; CONFIG has the instrumentation's options.
import { register } from "node:module";
import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { registerInstrumentations } from "@opentelemetry/instrumentation";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { TaskInstrumentation } from "otel-taskflow/instrumentation";

const exporter = new InMemorySpanExporter();

function start() {
  if (process.env.HOOK !== "no") register("@opentelemetry/instrumentation/hook.mjs", import.meta.url);
  const instrumentation = new TaskInstrumentation(JSON.parse(process.env.CONFIG ?? "{}"));
  registerInstrumentations({ instrumentations: [instrumentation] });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }));
  globalThis.otel.instrumentation = instrumentation;
}

const spans = () =>
  exporter.getFinishedSpans().map((span) => ({
    name: span.name,
    traceId: span.spanContext().traceId,
    isOurs: span.instrumentationScope.name === "otel-taskflow",
    outcome: span.attributes["task.outcome"],
    attempt: span.attributes["task.attempt"],
    function: span.attributes["code.function.name"],
  }));
globalThis.otel = { start, spans };
if (process.env.LATE === undefined) start();
