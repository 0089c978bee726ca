import { Redis } from "ioredis";
import { queryOnce } from "../engines/graphile-worker/database.js";
import { GRAPHILE, type Version } from "../engines/graphile-worker/versions.js";

/** What a store keeps, without what differs from run to run, and the carriers apart. */
export interface Dump {
  readonly entries: readonly string[];
  readonly carriers: number;
}

/** Keys of Redis that come and go: what tells of an event, holds a rate down, or wakes a worker. */
const PASSING = /:(events|limiter|marker|stalled-check|stalled|[^:]+:lock)$/;
/** A row is kept as it is first stored, because graphile-worker deletes those that succeed. */
const KEEP_ROWS = `
  create table public.stored (job jsonb);
  create function public.store() returns trigger language plpgsql as $$ begin
    insert into public.stored
      select to_jsonb(new) || jsonb_build_object('task', identifier) from graphile_worker._private_tasks where id = new.task_id;
    return new;
  end $$;
  create trigger stored after insert on graphile_worker._private_jobs for each row execute function public.store();
  insert into graphile_worker._private_known_crontabs values ('sweep', now() - interval '1 day', null)`;

/** A crontab runs once more where a minute begins meanwhile. */
const STORED =
  "select job from public.stored where job -> 'payload' -> '_cron' ->> 'backfilled' is distinct from 'false'";

/** A schedule may add one more as the service stops, which nothing runs. */
const JOBS = `
  select to_jsonb(job) as job from statements.job
  where name in ('statement', 'export') or (name = 'nightly' and state = 'completed')`;

/** Reads everything under a prefix of BullMQ's, and deletes it. */
export async function takeRedis(url: string, prefix: string): Promise<Dump> {
  const client = new Redis(url);
  const keys = await client.keys(`${prefix}:*`);
  let carriers = 0;
  const entries: string[] = [];
  for (const key of keys.filter((name) => !PASSING.test(name))) {
    const value = await read(client, key);
    if (typeof value.opts === "string") {
      const { "otel-taskflow": carrier, ...opts } = JSON.parse(value.opts);
      if (carrier !== undefined) carriers += 1;
      value.opts = JSON.stringify(opts);
    }
    entries.push(constant(`${key.slice(prefix.length)} ${JSON.stringify(value)}`));
  }
  if (keys.length > 0) await client.del(keys);
  client.disconnect();
  return { entries: entries.sort(), carriers };
}

async function read(client: Redis, key: string): Promise<Record<string, unknown>> {
  switch (await client.type(key)) {
    case "hash":
      return inOrder(firstLines(await client.hgetall(key)));
    case "zset":
      return { zset: (await client.zrange(key, 0, -1)).sort() };
    case "string":
      return { text: await client.get(key) };
    default:
      throw new Error(`${key} is of another type than those that were seen`);
  }
}

// Below the first line of a stack are the functions that were called, wrappers among them.
function firstLines(hash: Record<string, string>): Record<string, string> {
  const { stacktrace, ...others } = hash;
  if (stacktrace === undefined) return others;
  const stacks: string[] = JSON.parse(stacktrace);
  return { ...others, stacktrace: stacks.map((stack) => stack.split("\n")[0]).join() };
}

function inOrder(hash: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(hash).sort());
}

/** Has a database keep each row that graphile-worker stores. */
export async function prepareRows(url: string, version: Version): Promise<void> {
  const utils = await GRAPHILE[version].makeWorkerUtils({ connectionString: url });
  await utils.migrate();
  await utils.release();
  await queryOnce(url, KEEP_ROWS);
}

export async function readRows(url: string): Promise<Dump> {
  const stored = await queryOnce<{ job: Record<string, unknown> }>(url, STORED);
  const rows = stored.map(({ job: { flags, id: _id, task_id: _taskId, ...row } }) => ({ row, flags }));
  const entries = rows.map(({ row }) => constant(JSON.stringify(row)));
  return { entries: entries.sort(), carriers: rows.filter(({ flags }) => flags !== null).length };
}

/** Reads the jobs of the service's queues of pg-boss. */
export async function readJobs(url: string): Promise<Dump> {
  const stored = await queryOnce<{ job: Record<string, unknown> }>(url, JOBS);
  const rows = stored.map(({ job: { trace_context: carrier, ...row } }) => ({ row, carrier }));
  // a schedule adds one more where a minute begins meanwhile
  const entries = new Set(rows.map(({ row }) => constant(JSON.stringify(row))));
  return { entries: [...entries].sort(), carriers: rows.filter(({ carrier }) => isTraced(carrier)).length };
}

// What a schedule adds has a column that says so, and no trace.
function isTraced(carrier: unknown): boolean {
  return typeof carrier === "object" && carrier !== null && "traceparent" in carrier;
}

function constant(text: string): string {
  return text
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+(Z|\+[\d:]+)?/g, "TIME")
    .replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, "UUID")
    .replace(/\b\d{6,}\b/g, "MS");
}
