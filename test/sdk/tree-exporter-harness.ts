import {
  type Attributes,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { TaskTreeExporter, type TaskTreeExporterOptions } from "otel-taskflow/sdk";

const T0 = 1_700_000_000_000;

interface SpanParts {
  parent?: Span | SpanContext;
  kind?: SpanKind;
  attributes?: Attributes;
  links?: Link[];
}

/** Spans of the real SDK at chosen times (ms from zero), and what the exporter wrote. */
export function treeHarness(options: TaskTreeExporterOptions & { env?: { isTTY?: boolean; columns?: number } } = {}) {
  const { env, ...rest } = options;
  const written: string[] = [];
  const stream = { ...env, write: (text: string) => written.push(text) };
  const exporter = new TaskTreeExporter({ stream, ...rest });
  let ids = 0;
  const idOf = (digits: number) => () => (++ids).toString(16).padStart(digits, "0");
  const provider = new TracerProvider({
    idGenerator: { generateTraceId: idOf(32), generateSpanId: idOf(16) },
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer("test");

  const start = (name: string, at: number, { parent, ...parts }: SpanParts = {}): Span => {
    const spanContext = parent === undefined || "traceId" in parent ? parent : parent.spanContext();
    const above = spanContext === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContext);
    return tracer.startSpan(name, { ...parts, startTime: T0 + at }, above);
  };
  const span = (name: string, from: number, to: number, parts: SpanParts = {}): Span => {
    const started = start(name, from, parts);
    started.end(T0 + to);
    return started;
  };
  const task = { "task.id": "t1", "task.name": "send", "task.engine": "memory" };
  const enqueue = (at: number, parts: SpanParts = {}): Span => {
    const attributes = { ...task, ...parts.attributes };
    return span("enqueue send", at, at + 1, { ...parts, kind: SpanKind.PRODUCER, attributes });
  };
  const attempt = (number: number, from: number, to: number, parts: SpanParts = {}): Span => {
    const own = { "task.attempt": number, "task.max_attempts": 3, "task.outcome": "success" };
    const attributes = { ...task, ...own, ...parts.attributes };
    return span("process send", from, to, { ...parts, kind: SpanKind.CONSUMER, attributes });
  };
  const flushed = async (): Promise<string> => {
    await provider.forceFlush();
    return written.join("");
  };
  return { exporter, provider, written, start, span, enqueue, attempt, flushed, at: (ms: number) => T0 + ms };
}

/** The context of a span that the exporter never sees. */
export function unseen(traceDigit: string, parts: Partial<SpanContext> = {}): SpanContext {
  return {
    traceId: traceDigit.repeat(32),
    spanId: traceDigit.repeat(16),
    traceFlags: TraceFlags.SAMPLED,
    ...parts,
  };
}
