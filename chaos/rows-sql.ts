import { queryOnce } from "../test/engines/graphile-worker/database.js";
import { QUEUE } from "./kinds.js";
import type { Row } from "./servers.js";

const BOSS = `
  SELECT coalesce(singleton_key, id::text) AS id, state::text AS state, retry_count AS runs, output->>'message' AS error
  FROM pgboss.job WHERE name = $1`;

const GRAPHILE = `
  SELECT coalesce(key, payload->'carrier'->>'otel-taskflow', id::text) AS id, last_error AS error, attempts AS runs,
    attempts >= max_attempts AND locked_at IS NULL AS spent
  FROM graphile_worker._private_jobs`;

const UNLOCK = `
  SELECT graphile_worker.force_unlock_workers(array(
    SELECT DISTINCT locked_by FROM graphile_worker._private_jobs WHERE key = ANY($1) AND locked_by IS NOT NULL))`;

interface Stored {
  readonly id: string;
  readonly runs: number;
  readonly error: string | null;
}

/** The jobs of the queue, ended ones included. */
export async function pgBossRows(url: string): Promise<Row[]> {
  const jobs = await queryOnce<Stored & { state: string }>(url, BOSS, [QUEUE]);
  return jobs.map(({ id, state, runs, error }) => {
    const ended = { completed: "succeeded", failed: "failed", cancelled: "cancelled" } as const;
    return { id, state: ended[state as keyof typeof ended] ?? "live", detail: `${state} ${error ?? ""} runs=${runs}` };
  });
}

/** All jobs; those that succeeded are removed. */
export async function graphileRows(url: string): Promise<Row[]> {
  const jobs = await queryOnce<Stored & { spent: boolean }>(url, GRAPHILE);
  return jobs.map(({ id, spent, runs, error }) => {
    return { id: idOf(id), state: spent ? "failed" : "live", detail: `${error ?? ""} runs=${runs}` };
  });
}

export async function forceUnlock(url: string, ids: readonly string[]): Promise<void> {
  await queryOnce(url, UNLOCK, [ids]);
}

// A job that lost its key to another one still has its carrier.
function idOf(stored: string): string {
  if (!stored.startsWith("{")) return stored;
  return String((JSON.parse(stored) as { id?: unknown }).id);
}
