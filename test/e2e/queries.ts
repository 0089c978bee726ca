import { parseBaggage } from "../http/servers.js";
import type { Attributes, MetricPoint, ReceivedMetric, ReceivedSpan } from "./otlp-json.js";

/** The spans below one, by span ids alone: one line each, indented by depth, attempts with their number. */
export function outline(spans: readonly ReceivedSpan[], parentSpanId: string | undefined, indent = ""): string[] {
  const children = spans.filter((span) => span.parentSpanId === parentSpanId);
  const lines = children.map(({ service, kind, name, attributes, spanId }) => {
    const attempt = kind === "consumer" ? ` (attempt ${attributes["task.attempt"]})` : "";
    return [`${indent}${service}: ${kind} ${name}${attempt}`, ...outline(spans, spanId, `${indent}  `)];
  });
  return lines.sort().flat();
}

export function attemptOf(spans: readonly ReceivedSpan[], taskId: string, attempt: number): ReceivedSpan {
  return only(spans, ({ kind, attributes }) => {
    return kind === "consumer" && attributes["task.id"] === taskId && attributes["task.attempt"] === attempt;
  });
}

/** The one client span directly below another span. */
export function clientBelow(spans: readonly ReceivedSpan[], { spanId }: ReceivedSpan): ReceivedSpan {
  return only(spans, ({ kind, parentSpanId }) => kind === "client" && parentSpanId === spanId);
}

/** The `task.*` ones. */
export function taskAttributes(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([key]) => key.startsWith("task.")));
}

/** What the `baggage` header of the request behind a server span held. */
export function baggageAt({ attributes }: ReceivedSpan): Record<string, string> {
  return parseBaggage(attributes["http.request.header.baggage"] as string[] | undefined);
}

/** The points of a metric; every metric is exported once, when its process ends. */
export function pointsOf(metrics: readonly ReceivedMetric[], name: string): readonly MetricPoint[] {
  return only(metrics, (metric) => metric.name === name).points;
}

export function only<T extends { readonly name: string }>(all: readonly T[], wanted: (one: T) => boolean): T {
  const [found, ...others] = all.filter(wanted);
  if (found !== undefined && others.length === 0) return found;
  throw new Error(`expected one, found ${others.length + (found ? 1 : 0)} of ${all.map(({ name }) => name)}`);
}
