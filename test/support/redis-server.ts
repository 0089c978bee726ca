import { execFileSync } from "node:child_process";
import { Redis } from "ioredis";
import { freePort, type OwnServer, startServer, temporaryFolder } from "./server-process.js";

/** Starts a Redis of this process's own; `persistent` ones keep every write over a crash. */
export async function startRedis({ persistent = true } = {}): Promise<OwnServer> {
  const port = await freePort();
  const storage = persistent ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"];
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", ...storage, "--daemonize", "no"];
  const url = `redis://127.0.0.1:${port}`;
  const folder = temporaryFolder("redis");
  return await startServer({ url, port, folder, command: "redis-server", args, quit: "SIGTERM", ping: pingRedis });
}

/** Why `startRedis` cannot; `undefined` where it can. */
export function redisMissing(): string | undefined {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "there is no redis-server on the PATH";
  }
}

/** Rejects unless a Redis answers at this URL. */
export async function pingRedis(url: string): Promise<void> {
  const options = { lazyConnect: true, connectTimeout: 2_000, maxRetriesPerRequest: 0, retryStrategy: () => null };
  const client = new Redis(url, options);
  let cause: unknown;
  client.on("error", (error) => {
    cause = error;
  });
  try {
    await client.ping();
  } catch (error) {
    throw cause ?? error;
  } finally {
    client.disconnect();
  }
}
