import type { Attributes } from "@opentelemetry/api";

/** A span as it crosses to the process that asks for it. */
export interface InstrumentedSpan {
  readonly name: string;
  /** Such as `SERVER`. */
  readonly kind: string | undefined;
  readonly attributes: Attributes;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
}

/** What became of one request to each service, by the title of its framework. */
export interface InstrumentedReport {
  /** The task's tags, as it saw them. */
  readonly seen: Readonly<Record<string, unknown>>;
  /** The header of the task's own call. */
  readonly baggage: Readonly<Record<string, string>>;
  readonly spans: readonly InstrumentedSpan[];
}
