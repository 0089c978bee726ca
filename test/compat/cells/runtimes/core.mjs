// The core on a runtime that may not be Node: the memory engine, its context, and spans, with an SDK or, under OTEL_DENO, with
// Deno's own OpenTelemetry. Prints what it saw as JSON.
import { setTimeout as sleep } from "node:timers/promises";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";

const exporter = new InMemorySpanExporter();
if (process.env.OTEL_DENO === undefined) {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }));
}

const begin = Date.now();
const seen = [];
const tasks = new TaskManager();

async function helper() {
  await sleep(1);
  const { attempt, tags } = getTaskContext() ?? {};
  seen.push({ attempt, tags });
}

const charge = tasks.task({ name: "charge", retries: 1, delay: 20 }, async (order) => {
  await sleep(50);
  await helper();
  taskLog("Charging", { order });
  if (getTaskContext()?.attempt === 0) throw new TypeError("declined");
});

const request = trace.getTracer("core").startSpan("request");
await context.with(trace.setSpan(context.active(), request), () =>
  tasks.addTask(charge, ["o-1"], { tags: { plan: "pro" } }),
);
request.end();
await tasks.idle();
await tasks.shutdown();

const spans = exporter.getFinishedSpans().map((span) => ({
  name: span.name,
  traceId: span.spanContext().traceId,
  start: milliseconds(span.startTime),
  duration: milliseconds(span.duration),
  attributes: span.attributes,
  events: span.events.map(({ name }) => name),
}));
console.log(JSON.stringify({ seen, spans, begin, end: Date.now() }));

function milliseconds([seconds, nanoseconds]) {
  return seconds * 1_000 + nanoseconds / 1e6;
}
