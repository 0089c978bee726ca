import { fileURLToPath } from "node:url";
import type { TaskEngine } from "otel-taskflow";
import { type GraphileEngineOptions, graphileEngine } from "otel-taskflow/graphile-worker";
import { postgresUrl } from "../../support/servers.js";
import { type EngineStore, type EngineWorld, OFFERS, type StoredState } from "../world.js";
import { createDatabase, dropDatabase, queryOnce } from "./database.js";
import { GRAPHILE, type Version } from "./versions.js";

/** Where tasks are kept, as other processes can be told. */
interface Location {
  readonly version: Version;
  readonly server: string;
  readonly url: string;
}

interface StoredRow {
  readonly locked: boolean;
  readonly dead: boolean;
  readonly due: boolean;
}

/** For other processes; see `EngineWorld.module`. */
export const STORES_MODULE: string = fileURLToPath(import.meta.url);

const CONCURRENCY = 4;
/** An engine has two pools, and PostgreSQL takes 100 connections by itself. */
const MAX_POOL = 8;
const POLL_MS = 100;

// What an end is stored by changes a row while it is locked; what fetches one does not.
const BREAK_SETTLING = `
  create function lose() returns trigger language plpgsql as $$ begin raise exception 'connection lost'; end $$;
  create trigger lose before update or delete on graphile_worker._private_jobs
    for each row when (old.locked_at is not null) execute function lose();`;

export interface GraphileStore extends EngineStore {
  /** The database. */
  readonly url: string;
  engine(options?: Partial<GraphileEngineOptions>): TaskEngine;
}

/** graphile-worker of this version on PostgreSQL. */
export async function graphileWorld(version: Version): Promise<EngineWorld> {
  const { url: server = "", unavailable } = await postgresUrl();
  return {
    ...OFFERS,
    ...{ title: `graphile-worker ${version} on PostgreSQL`, unavailable, module: STORES_MODULE },
    create: () => createStore(version, server),
  };
}

/** A database of its own on this server. */
export async function createStore(version: Version, server: string): Promise<GraphileStore> {
  return storeAt({ version, server, url: await createDatabase(server) });
}

export async function openStore(location: string): Promise<EngineStore> {
  return storeAt(JSON.parse(location) as Location);
}

function storeAt(location: Location): GraphileStore {
  const { version, server, url } = location;
  const { run, makeWorkerUtils } = GRAPHILE[version];
  return {
    ...{ url, location: JSON.stringify(location) },
    engine({ concurrency = CONCURRENCY, ...options } = {}) {
      const workerOptions = { maxPoolSize: Math.min(MAX_POOL, Math.max(CONCURRENCY, concurrency)) };
      const own = { connectionString: url, pollInterval: POLL_MS, concurrency, workerOptions };
      return graphileEngine({ run, makeWorkerUtils, ...own, ...options });
    },
    async addForeign(name, data) {
      const utils = await makeWorkerUtils({ connectionString: url });
      const { id } = await utils.addJob(name, data);
      await utils.release();
      return id;
    },
    stateOf: (taskId) => stateOf(url, taskId),
    breakSettling: async () => void (await queryOnce(url, BREAK_SETTLING)),
    close: () => dropDatabase(server, url),
  };
}

// A task that gave up has lost its key, but what is stored still says whose job it was.
async function stateOf(url: string, taskId: string): Promise<StoredState | undefined> {
  if ((await queryOnce(url, "select 1 where to_regnamespace('graphile_worker') is not null")).length === 0) return;
  const carried = "payload -> 'carrier' ->> 'otel-taskflow'";
  const [row] = await queryOnce<StoredRow>(
    url,
    `select locked_at is not null as locked, attempts >= max_attempts as dead, run_at <= now() as due
    from graphile_worker._private_jobs
    where key = $1 or id::text = $1 or (json_typeof(payload) = 'object' and ${carried} like '%"id":' || $2 || '%')
    order by key nulls last, id desc limit 1`,
    [taskId, JSON.stringify(taskId)],
  );
  if (row === undefined) return undefined;
  if (row.dead) return "failed";
  if (row.locked) return "running";
  return row.due ? "queued" : "delayed";
}
