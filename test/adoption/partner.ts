import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A call that the partner got. */
export interface PartnerCall {
  readonly job: string;
  readonly traceId: string | undefined;
}

/** Another service, which wants to know of what has happened. */
export interface Partner {
  readonly url: string;
  readonly calls: readonly PartnerCall[];
  close(): void;
}

/** Starts one that answers 503 to the first call about each of `busy`. */
export async function startPartner(busy: readonly string[]): Promise<Partner> {
  const calls: PartnerCall[] = [];
  const server = createServer((request, response) => {
    const job = (request.url ?? "").slice(1);
    const isFirst = calls.every((call) => call.job !== job);
    calls.push({ job, traceId: String(request.headers.traceparent).split("-")[1] });
    request.resume();
    response.writeHead(busy.includes(job) && isFirst ? 503 : 200).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
