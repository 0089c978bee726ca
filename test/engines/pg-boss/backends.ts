import { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { type ConstructorOptions, fromPglite, PgBoss } from "pg-boss";
import { type Found, postgresUrl } from "../../support/servers.js";

/** A PostgreSQL that pg-boss can be started on, in a schema that nothing else uses. */
export interface Backend {
  readonly title: string;
  /** Why it cannot be used here; `undefined` where it can. */
  readonly unavailable?: string | undefined;
  readonly connection: ConstructorOptions;
  /** Where other processes find it; `undefined` where they cannot. */
  readonly url?: string | undefined;
  close(): Promise<void>;
}

/** Retries and losses are noticed at once instead of within minutes. */
export const FAST: ConstructorOptions = { superviseIntervalSeconds: 1, monitorIntervalSeconds: 1 };

/** The server the tests share, or another one. */
export async function postgresBackend(server?: { readonly url: string }): Promise<Backend> {
  const found: Found = server ?? (await postgresUrl());
  const { url = "", unavailable } = found;
  const schema = `pgboss_${crypto.randomUUID().slice(0, 8)}`;
  const connection: ConstructorOptions = { ...FAST, connectionString: url, schema, max: 3 };
  if (unavailable === undefined) await install(connection);
  return {
    ...{ title: "pg-boss 12 on PostgreSQL", unavailable, url, connection },
    close: async () => {
      if (unavailable === undefined) await query(url, `DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    },
  };
}

/** PGlite in the memory of this process. */
export async function pgliteBackend(): Promise<Backend> {
  const pglite = new PGlite();
  const connection: ConstructorOptions = { ...FAST, backend: "pglite", db: fromPglite(pglite) };
  // on its one connection, two instances cannot install themselves at once
  await install(connection);
  return { title: "pg-boss 12 on PGlite", connection, close: () => pglite.close() };
}

/** Makes pg-boss's tables, which takes longer than a test may wait for a task to be stored. */
export async function install(connection: ConstructorOptions): Promise<void> {
  const boss = new PgBoss(connection);
  await boss.start();
  await boss.stop({ graceful: false });
}

export async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as unknown[];
  } finally {
    await client.end();
  }
}
