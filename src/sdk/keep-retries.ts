import { type Attributes, type Context, type Link, SpanKind } from "@opentelemetry/api";
import { ATTR_TASK_ATTEMPT } from "../core/semconv.js";

/** `RECORD_AND_SAMPLED` of every SDK's SamplingDecision. */
const RECORD_AND_SAMPLED = 2;

/** An SDK's sampler, as far as it is used; `R` is its SamplingResult. */
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
 * Wraps a sampler so that an attempt ≥ 1 is always recorded: retries are what one looks for in traces. The spans it
 * leads to follow it, as far as the sampler asks their parent. Its own parent may be missing: the enqueue span was
 * sampled before anybody knew.
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
