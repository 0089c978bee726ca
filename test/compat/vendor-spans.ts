import type { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import { join } from "node:path";
import { decode, type OtlpBody, type ReceivedSpan } from "../e2e/otlp-json.js";
import type { VendorRequest } from "./receiver.js";

/** A span as a vendor tells it, whatever its wire format. */
export interface VendorSpan {
  readonly spanId: string;
  /** Empty on a root. */
  readonly parentId: string;
  /** The last 16 digits: all that Datadog's agent is given. */
  readonly traceId: string;
  /** Epoch milliseconds. */
  readonly start: number;
  /** Milliseconds. */
  readonly duration: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Names of the span events that arrived. */
  readonly events: readonly string[];
  /** Ids of the spans it links to. */
  readonly links: readonly string[];
}

/** A span of Sentry's envelopes: of version 11, and, without attributes of their own kind, of version 10. */
interface SentrySpan {
  readonly span_id: string;
  readonly parent_span_id?: string;
  readonly trace_id: string;
  readonly start_timestamp: number;
  readonly timestamp?: number;
  readonly end_timestamp?: number;
  readonly data?: Record<string, unknown>;
  readonly attributes?: Record<string, { readonly value: unknown }>;
  readonly links?: readonly { readonly span_id: string }[];
}

interface SentryLog {
  readonly trace_id: string;
  readonly body: string;
  readonly level: string;
  readonly attributes: Record<string, { readonly value: unknown }>;
}

interface SentryItem extends Partial<SentrySpan> {
  readonly contexts?: { readonly trace?: SentrySpan };
  readonly spans?: readonly SentrySpan[];
  readonly items?: readonly (SentrySpan | SentryLog)[];
}

interface DatadogSpan {
  readonly trace_id: bigint | number;
  readonly span_id: bigint | number;
  readonly parent_id: bigint | number;
  readonly start: bigint | number;
  readonly duration: bigint | number;
  readonly meta: Record<string, string>;
  readonly metrics: Record<string, number>;
}

/** A span event of New Relic's agent: intrinsics, the user's attributes, the agent's. */
type NewRelicSpan = readonly [Record<string, unknown>, Record<string, unknown>, Record<string, unknown>];

/** Of version 10 a transaction with its spans, of version 11 spans alone. */
export function sentrySpans(requests: readonly VendorRequest[]): VendorSpan[] {
  return sentryItems(requests).flatMap(({ contexts, start_timestamp = 0, timestamp = 0, spans = [], items = [] }) => {
    const root = contexts?.trace === undefined ? [] : [{ ...contexts.trace, start_timestamp, timestamp }];
    return [...root, ...spans, ...items.filter((item) => "start_timestamp" in item)].map(fromSentry);
  });
}

/** What `Sentry.logger` was told, with the last 16 digits of its trace id. */
export function sentryLogs(requests: readonly VendorRequest[]): { traceId: string; body: string; level: string }[] {
  const items = sentryItems(requests).flatMap((item) => item.items ?? []);
  return items
    .filter((item) => "body" in item)
    .map(({ trace_id, body, level }) => ({ traceId: trace_id.slice(-16), body, level }));
}

function sentryItems(requests: readonly VendorRequest[]): SentryItem[] {
  const envelopes = requests.filter(({ path }) => path.includes("/envelope/"));
  const lines = envelopes.flatMap(({ body }) => body.toString().split("\n")).filter((line) => line !== "");
  return lines.map((line) => JSON.parse(line));
}

function fromSentry(span: SentrySpan): VendorSpan {
  const { span_id, parent_span_id = "", trace_id, start_timestamp, data = {}, attributes = {}, links = [] } = span;
  const typed = Object.entries(attributes).map(([key, { value }]) => [key, value]);
  return {
    spanId: span_id,
    parentId: parent_span_id,
    traceId: trace_id.slice(-16),
    start: start_timestamp * 1_000,
    duration: ((span.timestamp ?? span.end_timestamp ?? 0) - start_timestamp) * 1_000,
    attributes: { ...data, ...Object.fromEntries(typed) },
    events: [],
    links: links.map((link) => link.span_id),
  };
}

/** What Datadog's tracer sends to its agent, as MessagePack. */
export function datadogSpans(requests: readonly VendorRequest[], cell: string): VendorSpan[] {
  const { unpack }: { unpack(body: Buffer): DatadogSpan[][] } = createRequire(join(cell, "/"))("msgpackr");
  const traces = requests.filter(({ path }) => path.endsWith("/traces")).flatMap(({ body }) => unpack(body));
  return traces.flat().map((span) => ({
    spanId: hex(span.span_id),
    parentId: hex(span.parent_id),
    traceId: hex(span.trace_id),
    start: Number(span.start) / 1e6,
    duration: Number(span.duration) / 1e6,
    attributes: { ...span.meta, ...span.metrics },
    events: namesOf(span.meta.events),
    links: parse<{ span_id: string }>(span.meta["_dd.span_links"]).map((link) => link.span_id),
  }));
}

function hex(id: bigint | number): string {
  return id.toString(16).padStart(16, "0");
}

function namesOf(json: string | undefined): string[] {
  return parse<{ name: string }>(json).map(({ name }) => name);
}

function parse<T>(json = "[]"): T[] {
  return JSON.parse(json);
}

/** OTLP over HTTP, as JSON. */
export function otlpSpans(requests: readonly VendorRequest[]): VendorSpan[] {
  const bodies: OtlpBody[] = requests
    .filter(({ path }) => path === "/v1/traces")
    .map(({ body }) => JSON.parse(body.toString()));
  return bodies.flatMap(decodeAll).map(({ spanId, parentSpanId = "", traceId, start, end, attributes, ...span }) => ({
    spanId,
    parentId: parentSpanId,
    traceId: traceId.slice(-16),
    start,
    duration: end - start,
    attributes,
    events: span.events.map(({ name }) => name),
    links: span.links.map((link) => link.spanId),
  }));
}

function decodeAll(body: OtlpBody): ReceivedSpan[] {
  return decode(body).spans;
}

/** What New Relic's agent holds ready to be sent; its links and events are of other types. */
export function newRelicSpans(held: unknown): VendorSpan[] {
  const all = held as NewRelicSpan[];
  return all
    .filter(([{ type }]) => type === "Span")
    .map(([intrinsics, user, agent]) => {
      const own = all.filter(([one]) => one.id === intrinsics.guid || one["span.id"] === intrinsics.guid);
      return {
        spanId: String(intrinsics.guid),
        parentId: String(intrinsics.parentId ?? ""),
        traceId: String(intrinsics.traceId).slice(-16),
        start: Number(intrinsics.timestamp),
        duration: Number(intrinsics.duration) * 1_000,
        attributes: { ...user, ...agent },
        events: own.filter(([{ type }]) => type === "SpanEvent").map(([{ name }]) => String(name)),
        links: own.filter(([{ type }]) => type === "SpanLink").map(([{ linkedSpanId }]) => String(linkedSpanId)),
      };
    });
}
