import { randomBytes } from "node:crypto";
import type { TaskRelation } from "otel-taskflow";
import type { Telemetry } from "./otlp-json.js";
import { type Ending, startProcess } from "./process.js";
import { startReceiver } from "./receiver.js";

/** What a request said, and what it was answered. */
export interface SentRequest {
  readonly traceId: string;
  /** The span of the request's sender. */
  readonly spanId: string;
  readonly taskId: string;
}

/** Two services in processes of their own, which send their telemetry here. */
export interface Services {
  /** Asks the first for a report, in a trace whose first span is elsewhere. */
  request(relation: TaskRelation, headers?: Record<string, string>): Promise<SentRequest>;
  /** Ends both, and returns all that has arrived from them. */
  stop(): Promise<Telemetry & { readonly endings: readonly Ending[] }>;
}

export async function startServices(env: Record<string, string> = {}): Promise<Services> {
  const receiver = await startReceiver();
  const settings = { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint };
  const [reports, accounts] = await Promise.all([
    startProcess("report-service", settings),
    startProcess("accounts-service", settings),
  ]);
  return {
    request: (relation, headers) => request(`${reports.url}/reports/${relation}`, accounts.url, headers),
    async stop() {
      // the caller first: its tasks still need the other
      const endings = [await reports.stop(), await accounts.stop()];
      receiver.close();
      return { ...receiver.received, endings };
    },
  };
}

async function request(url: string, accountsUrl: string, headers: Record<string, string> = {}): Promise<SentRequest> {
  const traceId = randomBytes(16).toString("hex");
  const spanId = randomBytes(8).toString("hex");
  const traceparent = `00-${traceId}-${spanId}-01`;
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", traceparent, ...headers },
    body: JSON.stringify({ accountsUrl }),
  });
  const { taskId } = (await response.json()) as { taskId: string };
  return { traceId, spanId, taskId };
}
