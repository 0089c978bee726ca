// Sets up OpenTelemetry as STAGE says: `old` is what the application had before, `line` the options of the added line.
const { context, propagation, trace } = require("@opentelemetry/api");
const { AsyncLocalStorageContextManager } = require("@opentelemetry/context-async-hooks");
const { W3CTraceContextPropagator } = require("@opentelemetry/core");
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { TracerProvider } = require("@opentelemetry/sdk-trace");
const { BullMQInstrumentation } = require("@appsignal/opentelemetry-instrumentation-bullmq");
const { BullMQOtel } = require("bullmq-otel");
const { TaskInstrumentation } = require("otel-taskflow/instrumentation");

const { old, line } = JSON.parse(process.env.STAGE);
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
trace.setGlobalTracerProvider(new TracerProvider());
registerInstrumentations({
  instrumentations: [
    ...(old === "@appsignal" ? [new BullMQInstrumentation({ useProducerSpanAsConsumerParent: true })] : []),
    ...(line === undefined ? [] : [new TaskInstrumentation(line)]),
  ],
});

/** What queues and workers were given before. */
exports.given = {
  connection: JSON.parse(process.env.CONNECTION),
  ...(old === "bullmq-otel" && { telemetry: new BullMQOtel("shop") }),
};
