import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes: { key: string; value: OtlpValue }[];
  readonly status: { code: number };
}

interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: number;
  readonly doubleValue?: number;
}

/** An OTLP span with its attributes as a record. */
export interface ReceivedSpan extends Omit<OtlpSpan, "attributes"> {
  readonly attributes: Record<string, string | number | undefined>;
}

interface OtlpTraces {
  resourceSpans: { scopeSpans: { spans: OtlpSpan[] }[] }[];
}

/** One request, whatever its signal. */
export interface OtlpRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Parsed where it is JSON, else empty. */
  readonly body: unknown;
}

export interface OtlpReceiver {
  readonly endpoint: string;
  readonly requests: readonly OtlpRequest[];
  /** What arrived at `/v1/traces`. */
  readonly spans: readonly ReceivedSpan[];
  close(): void;
}

/** A real OTLP/HTTP endpoint. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const requests: OtlpRequest[] = [];
  const server = createServer(async (request, response) => {
    const { url: path = "", headers } = request;
    const isJson = headers["content-type"] === "application/json";
    const payload = await buffer(request);
    const body: unknown = isJson ? JSON.parse(payload.toString()) : {};
    requests.push({ path, headers, body });
    if (path === "/v1/traces" && isJson) spans.push(...spansOf(body as OtlpTraces));
    const known = ["/v1/traces", "/v1/logs", "/v1/metrics"].includes(path);
    response.writeHead(known ? 200 : 404, { "content-type": String(headers["content-type"]) }).end(isJson ? "{}" : "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    spans,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function spansOf({ resourceSpans }: OtlpTraces): ReceivedSpan[] {
  const spans = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
  return spans.map((span) => {
    const entries = span.attributes.map(({ key, value }) => [key, scalar(value)]);
    return { ...span, attributes: Object.fromEntries(entries) };
  });
}

function scalar({ stringValue, intValue, doubleValue }: OtlpValue): string | number | undefined {
  return stringValue ?? intValue ?? doubleValue;
}
