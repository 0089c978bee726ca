import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";

const EMPTY_WITHIN_MS = 5_000;

/**
 * Creates a database on the server of this URL, and returns its URL. A schema of its own would not do: when one is
 * migrated, graphile-worker tells every worker of the database to stop.
 */
export async function createDatabase(server: string, options = ""): Promise<string> {
  const name = `taskflow_gw_${crypto.randomUUID().replaceAll("-", "")}`;
  await queryOnce(server, `create database ${name} ${options}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** Drops what `createDatabase` created, as soon as its users have closed their connections. */
export async function dropDatabase(server: string, url: string): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  const deadline = Date.now() + EMPTY_WITHIN_MS;
  const users = "select pid from pg_stat_activity where datname = $1";
  while (Date.now() < deadline && (await queryOnce(server, users, [name])).length > 0) await wait(20);
  await queryOnce(server, `drop database if exists ${name} with (force)`);
}

/** Rows of a query, over a connection of its own. */
export async function queryOnce<R>(url: string, sql: string, values: unknown[] = []): Promise<R[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {}); // the query's own rejection tells
  await client.connect();
  try {
    return (await client.query(sql, values)).rows as R[];
  } finally {
    await client.end();
  }
}
