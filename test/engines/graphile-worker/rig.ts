import type { TaskManager, TaskManagerOptions } from "otel-taskflow";
import { type GraphileEngineOptions, graphileEngine } from "otel-taskflow/graphile-worker";
import pg from "pg";
import { onTestFinished, vi } from "vitest";
import { createTasks } from "../../support/tasks.js";
import { createDatabase, dropDatabase, queryOnce } from "./database.js";
import { GRAPHILE, type Version } from "./versions.js";

export const POLL_MS = 50;
export const DISCONNECT_ALL = `
  select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
/** As it is after four hours, or after `forceUnlockWorkers`. */
export const UNLOCK_ALL = `select graphile_worker.force_unlock_workers(
  array(select locked_by from graphile_worker.jobs where locked_by is not null))`;

export interface JobRow {
  readonly attempts: number;
  readonly max_attempts: number;
  readonly key: string | null;
  readonly last_error: string | null;
  readonly locked_by: string | null;
  readonly run_at: Date;
  readonly task_identifier: string;
}

/** Managers of this version on a database of the running test's own. */
export interface Rig {
  readonly url: string;
  readonly make: (typeof GRAPHILE)[Version]["makeWorkerUtils"];
  readonly run: (typeof GRAPHILE)[Version]["run"];
  open(engine?: Partial<GraphileEngineOptions>, manager?: TaskManagerOptions): TaskManager;
  openPool(max: number): pg.Pool;
  jobs(): Promise<JobRow[]>;
  sql<R>(text: string, values?: unknown[]): Promise<R[]>;
}

export async function openRig(version: Version, server: string): Promise<Rig> {
  const { run, makeWorkerUtils } = GRAPHILE[version];
  // graphile-worker's own, when one of its workers dies
  vi.spyOn(console, "trace").mockImplementation(() => {});
  const url = await createDatabase(server);
  onTestFinished(() => dropDatabase(server, url));
  return {
    ...{ url, run, make: makeWorkerUtils },
    open(engine = {}, manager = {}) {
      const connection = engine.pgPool === undefined ? { connectionString: url } : {};
      const options = { run, makeWorkerUtils, pollInterval: POLL_MS, ...connection, ...engine };
      return createTasks({ ...manager, engine: graphileEngine(options) });
    },
    openPool(max) {
      const pool = new pg.Pool({ connectionString: url, max });
      onTestFinished(() => pool.end());
      return pool;
    },
    jobs: () => queryOnce(url, "select * from graphile_worker.jobs order by id"),
    sql: (text, values) => queryOnce(url, text, values),
  };
}
