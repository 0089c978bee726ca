// One service for each framework, as users run it: NodeSDK, instrumented servers and clients. Says where they listen;
// when it is told to stop, says what their tasks saw, what reached the server these called, and what spans there are.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { SpanKind } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { exporter } from "../support/instrumented-sdk.js";
import type { InstrumentedReport, InstrumentedSpan } from "./instrumented-report.js";

// after the start: instrumentations patch what is loaded later, built-in modules when they are required
createRequire(import.meta.url)("node:http");
const { getTaskContext, TaskManager } = await import("otel-taskflow");
const { webWorlds } = await import("./worlds.js");
const { urlOf } = await import("./listen.js");

const baggage: Record<string, string> = {};
const downstream = createServer(({ url = "", headers }, response) => {
  baggage[decodeURIComponent(url.slice(1))] = String(headers.baggage);
  response.end("ok");
});
await new Promise<void>((resolve) => downstream.listen(0, "127.0.0.1", resolve));

const manager = new TaskManager();
const seen: Record<string, unknown> = {};
const report = manager.task("report", async (framework: string) => {
  seen[framework] = getTaskContext()?.tags;
  await (await fetch(`${urlOf(downstream)}/${encodeURIComponent(framework)}`)).text();
});

const tags = { source: "api" };
const servers = await Promise.all(
  webWorlds.map(({ title, serve }) =>
    serve(manager, { "/": async (tasks) => ({ body: await tasks.addTask(report, [title], { tags }) }) }),
  ),
);

process.once("message", async () => {
  await Promise.all(servers.map((server) => server.close()));
  await manager.shutdown();
  const spans = exporter.getFinishedSpans().map(plain);
  process.send?.({ seen, baggage, spans } satisfies InstrumentedReport, () => process.exit());
});
process.send?.(servers.map(({ url }) => url));

function plain(span: ReadableSpan): InstrumentedSpan {
  const { traceId, spanId } = span.spanContext();
  const { name, kind, attributes, parentSpanContext } = span;
  return { name, kind: SpanKind[kind], attributes, traceId, spanId, parentId: parentSpanContext?.spanId };
}
