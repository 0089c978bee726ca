// A server of the run's own, and what it holds of the tasks.

import { Redis } from "ioredis";
import type { OwnServer } from "../test/support/server-process.js";
import { startPostgres, startRedis } from "../test/support/servers.js";
import { ENGINES, type EngineName } from "./kinds.js";
import { bullmqRows } from "./rows-bullmq.js";
import { forceUnlock, graphileRows, pgBossRows, postgresClients } from "./rows-sql.js";

/** A task as its store has it. */
export interface Row {
  readonly id: string;
  /** `replaced`: the attempt after it is another row, and it never runs. */
  readonly state: "live" | "succeeded" | "failed" | "cancelled" | "replaced";
  readonly detail: string;
}

export interface TaskServer {
  readonly server: OwnServer;
  /** What is stored, read past the proxy: also what has ended, as far as the library keeps it, or what has not. */
  rows(which: "all" | "live"): Promise<Row[]>;
  /** Connections of clients, but for the one that asks. */
  connections(): Promise<number>;
  /** As an operator does for workers that are dead: what they have locked is free. By the tasks that they ran. */
  unlock(ids: readonly string[]): Promise<void>;
}

export async function startTaskServer(engine: EngineName): Promise<TaskServer> {
  // a shutdown of PostgreSQL that tells its clients, as a restart by its operator
  const server = ENGINES[engine].server === "redis" ? await startRedis() : await startPostgres({ quit: "SIGINT" });
  const graphile = engine.startsWith("graphile");
  return {
    server,
    rows: (which) => readRows(engine, server, which),
    connections: () => (ENGINES[engine].server === "redis" ? redisClients(server.url) : postgresClients(server.url)),
    unlock: async (ids) => (graphile ? await forceUnlock(server.url, ids) : undefined),
  };
}

function readRows(engine: EngineName, { url, port }: OwnServer, which: "all" | "live"): Promise<Row[]> {
  if (engine === "pg-boss") return pgBossRows(url, which);
  if (engine.startsWith("graphile")) return graphileRows(url, which);
  return bullmqRows(engine, { url, port }, which);
}

async function redisClients(url: string): Promise<number> {
  const client = new Redis(url);
  try {
    const list = String(await client.client("LIST"));
    return list.trim().split("\n").length - 1;
  } finally {
    client.disconnect();
  }
}
