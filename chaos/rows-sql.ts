import { queryOnce } from "../test/engines/graphile-worker/database.js";
import { QUEUE } from "./kinds.js";
import type { Row } from "./servers.js";

const BOSS = `
  SELECT coalesce(singleton_key, id::text) AS id, state::text AS state, retry_count AS runs, output->>'message' AS error
  FROM pgboss.job WHERE name = $1 AND ($2 = 'all' OR state < 'completed')`;

const GRAPHILE = `
  SELECT * FROM (
    SELECT coalesce(key, payload->'carrier'->>'otel-taskflow', id::text) AS id, last_error AS error, attempts AS runs,
      attempts >= max_attempts AND (locked_at IS NULL OR key IS NULL) AS spent,
      key IS NULL AND last_error IS NULL AS replaced
    FROM graphile_worker._private_jobs) AS jobs
  WHERE $1 = 'all' OR NOT spent`;

const CLIENTS = `
  SELECT count(*)::int AS clients FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`;

const UNLOCK = `
  SELECT graphile_worker.force_unlock_workers(array(
    SELECT DISTINCT locked_by FROM graphile_worker._private_jobs WHERE key = ANY($1) AND locked_by IS NOT NULL))`;

interface Stored {
  readonly id: string;
  readonly runs: number;
  readonly error: string | null;
}

/** The jobs of the queue, ended ones included. */
export async function pgBossRows(url: string, which: "all" | "live"): Promise<Row[]> {
  const jobs = await queryOnce<Stored & { state: string }>(url, BOSS, [QUEUE, which]);
  return jobs.map(({ id, state, runs, error }) => {
    const ended = { completed: "succeeded", failed: "failed", cancelled: "cancelled" } as const;
    return { id, state: ended[state as keyof typeof ended] ?? "live", detail: `${state} ${error ?? ""} runs=${runs}` };
  });
}

/** All jobs; those that succeeded are removed. */
export async function graphileRows(url: string, which: "all" | "live"): Promise<Row[]> {
  const jobs = await queryOnce<Stored & { spent: boolean; replaced: boolean }>(url, GRAPHILE, [which]);
  return jobs.map(({ id, spent, replaced, runs, error }) => {
    const ended = replaced ? "replaced" : "failed";
    return { id: idOf(id), state: spent ? ended : "live", detail: `${error ?? ""} runs=${runs}` };
  });
}

export async function forceUnlock(url: string, ids: readonly string[]): Promise<void> {
  await queryOnce(url, UNLOCK, [ids]);
}

export async function postgresClients(url: string): Promise<number> {
  const [row] = await queryOnce<{ clients: number }>(url, CLIENTS);
  return row?.clients ?? Number.NaN;
}

// A job that lost its key to another one still has its carrier.
function idOf(stored: string): string {
  if (!stored.startsWith("{")) return stored;
  return String((JSON.parse(stored) as { id?: unknown }).id);
}
