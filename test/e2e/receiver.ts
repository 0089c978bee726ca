import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { decode, type OtlpBody, type Telemetry } from "./otlp-json.js";

/** A real OTLP/HTTP endpoint. */
export interface Receiver {
  readonly endpoint: string;
  /** All that has arrived. */
  readonly received: Telemetry;
  close(): void;
}

export async function startReceiver(): Promise<Receiver> {
  const received: Telemetry = { spans: [], logs: [], metrics: [] };
  const server = createServer(async (request, response) => {
    const { spans, logs, metrics } = decode((await json(request)) as OtlpBody);
    received.spans.push(...spans);
    received.logs.push(...logs);
    received.metrics.push(...metrics);
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
