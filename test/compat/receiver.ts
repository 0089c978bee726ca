import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";

/** One request, its body unpacked. */
export interface VendorRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Receiver {
  readonly url: string;
  readonly requests: readonly VendorRequest[];
  close(): void;
}

/** Takes what a vendor's exporter and the tasks themselves send, and answers as all of them are content with. */
export async function startReceiver(): Promise<Receiver> {
  const requests: VendorRequest[] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    const { url = "", headers } = request;
    requests.push({ path: url, headers, body: headers["content-encoding"] === "gzip" ? gunzipSync(body) : body });
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
