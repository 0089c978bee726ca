import { type Attributes, type Context, type Link, SpanKind } from "@opentelemetry/api";
import { ATTR_TASK_ATTEMPT } from "../core/semconv.js";

/** `RECORD_AND_SAMPLED` of every SDK's SamplingDecision. */
const RECORD_AND_SAMPLED = 2;

/** The part of an SDK's sampler that is used; `R` is its SamplingResult. */
export interface TaskSampler<R> {
  shouldSample(
    context: Context,
    traceId: string,
    spanName: string,
    spanKind: SpanKind,
    attributes: Attributes,
    links: Link[],
  ): R;
  toString(): string;
}

/**
 * Wraps a sampler so that every retry, an attempt from number 1 on, is recorded, as retries are what one looks for in
 * traces. Spans within it follow it where the sampler asks their parent. Its own parent may be missing, because the
 * enqueue span was sampled before anybody knew. What the wrapped sampler throws comes through.
 *
 * @see https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampler
 */
export function keepRetries<R extends { decision: number }>(sampler: TaskSampler<R>): TaskSampler<R> {
  return {
    shouldSample: (context, traceId, spanName, spanKind, attributes, links) => {
      const result = sampler.shouldSample(context, traceId, spanName, spanKind, attributes, links);
      return isRetry(spanKind, attributes) ? { ...result, decision: RECORD_AND_SAMPLED } : result;
    },
    toString: () => `KeepRetries{${sampler}}`,
  };
}

function isRetry(spanKind: SpanKind, attributes: Attributes): boolean {
  const attempt = attributes[ATTR_TASK_ATTEMPT];
  return spanKind === SpanKind.CONSUMER && typeof attempt === "number" && attempt >= 1;
}
