// Every span, and every change of the metrics that make the ledger, as entries of the journal.
import {
  context,
  createNoopMeter,
  DiagLogLevel,
  diag,
  type Meter,
  type MeterProvider,
  propagation,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import { type ReadableSpan, type SpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import type { Journal } from "./journal.js";

/** The metrics that have to agree with what the hooks were told. */
const COUNTED = ["task.enqueued", "task.finished", "task.attempt.active"];

/** Registers an SDK of which this journal hears everything; the meter provider is the manager's. */
export function registerTelemetry(journal: Journal): MeterProvider {
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [spansOf(journal)] }));
  diag.setLogger(diagOf(journal), DiagLogLevel.WARN);
  return { getMeter: () => meterOf(journal) };
}

function spansOf(journal: Journal): SpanProcessor {
  return {
    onStart: (span) => (isOurs(span) ? journal.note(startOf(span)) : undefined),
    onEnd(span) {
      if (!isOurs(span)) return;
      const tagged = span.attributes["task.tag.n"] !== undefined;
      const outcome = span.attributes["task.outcome"];
      journal.note({ e: "span ended", span: span.spanContext().spanId, outcome, tagged });
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
}

// The libraries make spans of their own.
function isOurs({ instrumentationScope }: ReadableSpan): boolean {
  return instrumentationScope.name === "otel-taskflow";
}

function startOf(span: ReadableSpan): Parameters<Journal["note"]>[0] {
  const { name, attributes, links } = span;
  return {
    ...{ e: "span started", span: span.spanContext().spanId, name },
    ...{ id: attributes["task.id"], attempt: attributes["task.attempt"] },
    redelivered: attributes["task.redelivered"] === true,
    links: links.map((link) => link.attributes?.["task.link"]),
  };
}

function meterOf(journal: Journal): Meter {
  const instrument = (metric: string) => ({
    add(change: number, attributes: Record<string, unknown> = {}): void {
      // an enqueue that failed is counted with its error.type, and is no task
      const failed = metric === "task.enqueued" && attributes["error.type"] !== undefined;
      if (COUNTED.includes(metric)) journal.note({ e: "counted", metric, change, failed });
    },
  });
  return Object.assign(createNoopMeter(), { createCounter: instrument, createUpDownCounter: instrument });
}

function diagOf(journal: Journal): Parameters<typeof diag.setLogger>[0] {
  const note = (...parts: unknown[]): void =>
    journal.note({ e: "diag", error: parts.map(String).join(" ").slice(0, 300) });
  return { error: note, warn: note, info: () => {}, debug: () => {}, verbose: () => {} };
}
