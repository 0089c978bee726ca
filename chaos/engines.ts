// The engines under test, with locks so short that what a lost worker leaves is soon another's.
import type { TaskEngine } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { graphileEngine } from "otel-taskflow/graphile-worker";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import pg from "pg";
import { DATABASE, type EngineName, QUEUE } from "./kinds.js";

export interface OpenedEngine {
  readonly engine: TaskEngine;
  /** Closes what is not the engine's own, once its manager has shut down. */
  close?(): Promise<void>;
}

interface Place {
  /** Where the server is reached; the proxy's. */
  readonly port: number;
  /** No other process works there: graphile-worker may free what others have left locked. */
  readonly onlyWorker: boolean;
}

const CONCURRENCY = 10;
const LOCKS = { lockDuration: 4_000, stalledInterval: 3_000 };

/** Makes an engine of this name; the library is loaded only now. */
export async function openEngine(name: EngineName, { port, onlyWorker }: Place): Promise<OpenedEngine> {
  const connectionString = `postgres://postgres@127.0.0.1:${port}/${DATABASE}`;
  switch (name) {
    case "bullmq":
      return onBullmq(await import("bullmq"), { host: "127.0.0.1", port });
    case "bullmq5":
      return onBullmq(await import("bullmq5"), { host: "127.0.0.1", port });
    case "bullmq-pg": {
      const { createPostgresBackend, withBackend } = await import("bullmq");
      return onBullmq(withBackend(createPostgresBackend), { connectionString, migrate: true });
    }
    case "pg-boss":
      return await onPgBoss(connectionString);
    case "graphile-worker":
      return onGraphile(await import("graphile-worker"), connectionString, onlyWorker);
    case "graphile-worker-016":
      return onGraphile(await import("graphile-worker-016"), connectionString, onlyWorker);
  }
}

type BullmqClasses = Pick<Parameters<typeof bullmqEngine>[0], "Queue" | "Worker">;

function onBullmq({ Queue, Worker }: BullmqClasses, connection: object): OpenedEngine {
  const settings = { queue: QUEUE, concurrency: CONCURRENCY, workerOptions: LOCKS };
  return { engine: bullmqEngine({ Queue, Worker, connection, ...settings }) };
}

async function onPgBoss(connectionString: string): Promise<OpenedEngine> {
  const { PgBoss } = await import("pg-boss");
  const boss = new PgBoss({ connectionString, superviseIntervalSeconds: 2, monitorIntervalSeconds: 2, max: 5 });
  const settings = { concurrency: CONCURRENCY, heartbeatSeconds: 10, pollingIntervalSeconds: 0.2 };
  return { engine: pgBossEngine({ boss, queue: QUEUE, ...settings }) };
}

type GraphileFunctions = Pick<Parameters<typeof graphileEngine>[0], "run" | "makeWorkerUtils">;

// With a pool, as docs/engines.md recommends.
function onGraphile(
  { run, makeWorkerUtils }: GraphileFunctions,
  connectionString: string,
  onlyWorker: boolean,
): OpenedEngine {
  const pgPool = new pg.Pool({ connectionString, max: 5 });
  const settings = { concurrency: CONCURRENCY, pollInterval: 300, onlyWorker };
  return { engine: graphileEngine({ run, makeWorkerUtils, pgPool, ...settings }), close: () => pgPool.end() };
}
