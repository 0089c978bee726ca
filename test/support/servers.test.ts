import { execFile } from "node:child_process";
import { Redis } from "ioredis";
import pg from "pg";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { pingRedis } from "./redis-server.js";
import { postgresMissing, redisMissing, startPostgres, startRedis } from "./servers.js";
import { describeUnavailable } from "./unavailable.js";

const REFUSED = /ECONNREFUSED/;

if (redisMissing() !== undefined) describeUnavailable("a Redis of one's own", redisMissing() ?? "");
else
  describe("a Redis of one's own", () => {
    test("keeps what was written over a crash", async () => {
      const server = await startRedis();
      onTestFinished(server.stop);
      await redis(server.url, (client) => client.set("key", "value"));
      await server.kill();
      await expect(pingRedis(server.url)).rejects.toThrow(REFUSED);
      await server.restart();
      expect(await redis(server.url, (client) => client.get("key"))).toBe("value");
    });

    test("ends with the process that started it, however that ends", async () => {
      const url = await urlOfKilledProcess();
      await vi.waitFor(() => expect(pingRedis(url)).rejects.toThrow(REFUSED), 10_000);
    });
  });

if (postgresMissing() !== undefined) describeUnavailable("a PostgreSQL of one's own", postgresMissing() ?? "");
else
  test("a PostgreSQL of one's own keeps what was written over a crash", async () => {
    const server = await startPostgres();
    onTestFinished(server.stop);
    await query(server.url, "CREATE TABLE kept AS SELECT 7 AS value");
    await server.kill();
    await expect(query(server.url, "SELECT 1")).rejects.toThrow(REFUSED);
    await server.restart();
    expect(await query(server.url, "SELECT value FROM kept")).toEqual([{ value: 7 }]);
  });

/** Starts a Redis in a process that is killed at once, and returns its URL. */
function urlOfKilledProcess(): Promise<string> {
  const script = `
    import { startRedis } from "./test/support/servers.ts";
    const { url } = await startRedis();
    process.stdout.write(url, () => process.kill(process.pid, "SIGKILL"));`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  return new Promise((resolve) => {
    execFile(process.execPath, args, (_killed, stdout) => resolve(stdout));
  });
}

async function redis<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url);
  try {
    return await use(client);
  } finally {
    client.disconnect();
  }
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url);
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
