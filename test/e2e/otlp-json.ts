// What OTLP/HTTP sends as JSON, with lists of attributes turned into records.
// https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto

export type Attributes = Readonly<Record<string, unknown>>;

export interface ReceivedSpan {
  readonly service: unknown;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: "internal" | "server" | "client" | "producer" | "consumer" | undefined;
  /** Epoch milliseconds. */
  readonly start: number;
  /** Epoch milliseconds. */
  readonly end: number;
  readonly attributes: Attributes;
  readonly events: readonly { readonly name: string; readonly attributes: Attributes }[];
  readonly links: readonly { readonly traceId: string; readonly spanId: string; readonly attributes: Attributes }[];
  readonly status: "unset" | "ok" | "error" | undefined;
}

export interface ReceivedLog {
  readonly service: unknown;
  readonly scope: string;
  readonly traceId: string | undefined;
  readonly spanId: string | undefined;
  readonly severityNumber: number;
  readonly body: unknown;
  readonly attributes: Attributes;
}

export interface ReceivedMetric {
  readonly service: unknown;
  readonly scope: string;
  readonly name: string;
  readonly unit: string | undefined;
  readonly points: readonly MetricPoint[];
}

export interface MetricPoint {
  readonly attributes: Attributes;
  /** Of a sum. */
  readonly value: number | undefined;
  /** Of a histogram. */
  readonly count: number | undefined;
  readonly sum: number | undefined;
  readonly bounds: readonly number[] | undefined;
}

export interface Telemetry {
  readonly spans: ReceivedSpan[];
  readonly logs: ReceivedLog[];
  readonly metrics: ReceivedMetric[];
}

/** One export, of any of the three signals. */
export interface OtlpBody {
  readonly resourceSpans?: (Resourceful & { readonly scopeSpans: ScopeSpans[] })[];
  readonly resourceLogs?: (Resourceful & { readonly scopeLogs: ScopeLogs[] })[];
  readonly resourceMetrics?: (Resourceful & { readonly scopeMetrics: ScopeMetrics[] })[];
}

interface Resourceful {
  readonly resource: { readonly attributes: KeyValue[] };
}

interface Scoped {
  readonly scope: { readonly name: string };
}

type ScopeSpans = { readonly spans: WireSpan[] };
type ScopeLogs = Scoped & { readonly logRecords: WireLog[] };
type ScopeMetrics = Scoped & { readonly metrics: WireMetric[] };

interface KeyValue {
  readonly key: string;
  readonly value: AnyValue;
}

interface AnyValue {
  readonly stringValue?: string;
  readonly intValue?: number | string;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
  readonly arrayValue?: { readonly values: AnyValue[] };
  readonly kvlistValue?: { readonly values: KeyValue[] };
}

interface WireSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: KeyValue[];
  readonly events?: { readonly name: string; readonly attributes?: KeyValue[] }[];
  readonly links?: { readonly traceId: string; readonly spanId: string; readonly attributes?: KeyValue[] }[];
  readonly status?: { readonly code?: number };
}

interface WireLog {
  readonly traceId?: string;
  readonly spanId?: string;
  readonly severityNumber: number;
  readonly body?: AnyValue;
  readonly attributes?: KeyValue[];
}

interface WireMetric {
  readonly name: string;
  readonly unit?: string;
  readonly sum?: { readonly dataPoints: WirePoint[] };
  readonly histogram?: { readonly dataPoints: WirePoint[] };
}

interface WirePoint {
  readonly attributes?: KeyValue[];
  readonly asInt?: number | string;
  readonly asDouble?: number;
  readonly count?: number | string;
  readonly sum?: number;
  readonly explicitBounds?: number[];
}

const KINDS = [undefined, "internal", "server", "client", "producer", "consumer"] as const;
const STATUSES = ["unset", "ok", "error"] as const;

export function decode({ resourceSpans = [], resourceLogs = [], resourceMetrics = [] }: OtlpBody): Telemetry {
  return {
    spans: resourceSpans.flatMap((group) =>
      group.scopeSpans.flatMap(({ spans }) => spans.map((span) => toSpan(serviceOf(group), span))),
    ),
    logs: resourceLogs.flatMap((group) =>
      group.scopeLogs.flatMap(({ scope, logRecords }) =>
        logRecords.map((log) => toLog(serviceOf(group), scope.name, log)),
      ),
    ),
    metrics: resourceMetrics.flatMap((group) =>
      group.scopeMetrics.flatMap(({ scope, metrics }) =>
        metrics.map((metric) => toMetric(serviceOf(group), scope.name, metric)),
      ),
    ),
  };
}

function serviceOf({ resource }: Resourceful): unknown {
  return toRecord(resource.attributes)["service.name"];
}

function toSpan(service: unknown, span: WireSpan): ReceivedSpan {
  const { traceId, spanId, parentSpanId, name, kind, events = [], links = [], status } = span;
  return {
    service,
    traceId,
    spanId,
    parentSpanId,
    name,
    kind: KINDS[kind],
    start: Number(span.startTimeUnixNano) / 1e6,
    end: Number(span.endTimeUnixNano) / 1e6,
    attributes: toRecord(span.attributes),
    events: events.map((event) => ({ name: event.name, attributes: toRecord(event.attributes) })),
    links: links.map((link) => ({ ...link, attributes: toRecord(link.attributes) })),
    status: STATUSES[status?.code ?? 0],
  };
}

function toLog(service: unknown, scope: string, log: WireLog): ReceivedLog {
  const { traceId, spanId, severityNumber, body = {} } = log;
  return { service, scope, traceId, spanId, severityNumber, body: toValue(body), attributes: toRecord(log.attributes) };
}

function toMetric(service: unknown, scope: string, { name, unit, sum, histogram }: WireMetric): ReceivedMetric {
  const points = [sum, histogram].flatMap((data) => data?.dataPoints ?? []).map(toPoint);
  return { service, scope, name, unit, points };
}

function toPoint({ attributes, asInt, asDouble, count, sum, explicitBounds }: WirePoint): MetricPoint {
  const value = asDouble ?? toNumber(asInt);
  return { attributes: toRecord(attributes), value, count: toNumber(count), sum, bounds: explicitBounds };
}

function toNumber(value: number | string | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

function toRecord(attributes: KeyValue[] = []): Attributes {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, toValue(value)]));
}

function toValue({ stringValue, intValue, doubleValue, boolValue, arrayValue, kvlistValue }: AnyValue): unknown {
  if (arrayValue !== undefined) return arrayValue.values.map(toValue);
  if (kvlistValue !== undefined) return toRecord(kvlistValue.values);
  return stringValue ?? boolValue ?? doubleValue ?? toNumber(intValue);
}
