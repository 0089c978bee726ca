import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { context, propagation, ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import Fastify from "fastify";
import { onTestFinished } from "vitest";

/** A real server that answers every request, and keeps the headers it came with. */
export interface Downstream {
  readonly url: string;
  readonly received: IncomingHttpHeaders[];
}

/** A server the tasks under test call. */
export async function startDownstream(): Promise<Downstream> {
  const received: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    received.push(request.headers);
    response.end("ok");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => close(server));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, received };
}

/**
 * A server instrumented as OpenTelemetry's HTTP instrumentation does it: what the propagator finds in a request's
 * headers is active while `handle` runs, under a SERVER span.
 */
export async function startFrontend(handle: () => Promise<unknown>): Promise<string> {
  const app = Fastify();
  app.addHook("onRequest", (request, reply, done) => {
    const inbound = propagation.extract(ROOT_CONTEXT, request.headers);
    const span = trace.getTracer("test").startSpan("POST /", { kind: SpanKind.SERVER }, inbound);
    reply.raw.once("close", () => span.end());
    context.with(trace.setSpan(inbound, span), done);
  });
  app.post("/", handle);
  onTestFinished(() => app.close());
  return await app.listen({ port: 0, host: "127.0.0.1" });
}

/** Calls a server the way an instrumented client does: with what the propagator makes of the active context. */
export async function call(url: string): Promise<void> {
  const headers: Record<string, string> = { connection: "close" };
  propagation.inject(context.active(), headers);
  const response = await fetch(url, { headers });
  await response.text();
}

/** What the `baggage` header of a request holds. */
export function baggageOf(headers: IncomingHttpHeaders | undefined): Record<string, string> {
  return parseBaggage(headers?.baggage);
}

/** A `baggage` header's entries, decoded by W3C's rules, without OpenTelemetry's help. */
export function parseBaggage(header: string | string[] | undefined): Record<string, string> {
  const entries = [header ?? []].flat().flatMap((line) => line.split(","));
  const pairs = entries.map((entry) => entry.split(";")[0]?.split("=") ?? []);
  return Object.fromEntries(pairs.map((pair) => pair.map((part) => decodeURIComponent(part.trim()))));
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}
