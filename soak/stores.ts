// Each engine on a store of its own, on the servers the tests use.
import { Queue, Worker } from "bullmq";
import { makeWorkerUtils, run } from "graphile-worker";
import { memoryEngine, type TaskEngine } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { graphileEngine } from "otel-taskflow/graphile-worker";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import pg from "pg";
import { PgBoss } from "pg-boss";
import { type Found, postgresUrl, redisUrl } from "../test/support/servers.js";

export interface Store {
  readonly name: string;
  /** Why it cannot be used here. */
  readonly unavailable?: string | undefined;
  /** Another engine on the same tasks. */
  engine(): TaskEngine;
  close(): Promise<void>;
}

const CONCURRENCY = 20;

export async function stores(): Promise<Store[]> {
  const own = `soak_${process.pid}`;
  const [redis, postgres] = await Promise.all([redisUrl(), postgresUrl()]);
  return [
    { name: "memory", engine: () => memoryEngine({ concurrency: CONCURRENCY }), close: async () => {} },
    onRedis(redis, own),
    onPgBoss(postgres, `${own}_boss`),
    onGraphile(postgres, `${own}_graphile`),
  ];
}

function onRedis({ url = "redis://127.0.0.1", unavailable }: Found, queue: string): Store {
  const { hostname, port } = new URL(url);
  const connection = { host: hostname, port: Number(port || 6379) };
  return {
    ...{ name: "bullmq", unavailable },
    engine: () => bullmqEngine({ Queue, Worker, connection, queue, concurrency: CONCURRENCY }),
    async close() {
      const all = new Queue(queue, { connection });
      await all.obliterate({ force: true });
      await all.close();
    },
  };
}

function onPgBoss({ url = "", unavailable }: Found, schema: string): Store {
  return {
    ...{ name: "pg-boss", unavailable },
    engine() {
      const boss = new PgBoss({ connectionString: url, schema, max: 4 });
      return pgBossEngine({ boss, concurrency: CONCURRENCY, pollingIntervalSeconds: 0.5 });
    },
    close: () => dropSchema(url, schema),
  };
}

function onGraphile({ url = "", unavailable }: Found, schema: string): Store {
  return {
    ...{ name: "graphile-worker", unavailable },
    engine() {
      const settings = { connectionString: url, schema, pollInterval: 100, concurrency: 10 };
      return graphileEngine({ run, makeWorkerUtils, ...settings });
    },
    close: () => dropSchema(url, schema),
  };
}

async function dropSchema(connectionString: string, schema: string): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  await client.end();
}
