import type { BrokerServer } from "../core/attributes.js";
import { safely } from "../core/guard.js";
import { fieldsOf } from "../core/wire.js";

/**
 * Reads where a server is from what a library connects by: a URL, options with a URL or with `host` and `port`, or a
 * client or pool that has such options. `undefined` where these do not say it. Never throws.
 */
export function serverOf(connection: unknown): BrokerServer | undefined {
  return safely("reading where a server is", () => {
    const { options } = fieldsOf(connection);
    const { url, connectionString, host, port } = fieldsOf(options ?? connection);
    const text = [connection, url, connectionString].find((given) => typeof given === "string");
    if (text !== undefined) return serverIn(String(text));
    return typeof host === "string" && host !== "" ? { address: host, port: Number(port) || undefined } : undefined;
  });
}

// A URL that is none is for the library to refuse.
function serverIn(url: string): BrokerServer | undefined {
  if (!URL.canParse(url)) return undefined;
  const { hostname, port } = new URL(url);
  // an IPv6 address stands in brackets there
  const address = hostname.replace(/^\[|\]$/g, "");
  return address === "" ? undefined : { address, port: Number(port) || undefined };
}
