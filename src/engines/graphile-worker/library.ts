import { setTimeout as pause } from "node:timers/promises";
import { debug, warn } from "../../core/guard.js";
import { shared } from "../../core/slot.js";
import { sqlStateOf } from "../outage.js";

/** The value of `task.engine`, and of `messaging.system`, for which there is no convention. */
export const GRAPHILE_WORKER = "graphile-worker";

/**
 * The attempts, and the limit of them, of a job whose end is stored: the most that its columns hold, which no job
 * reaches otherwise. The limit of this engine's own jobs is as high, so that the host decides when a task gives up.
 */
const MOST_ATTEMPTS = 32_767;

/** The parameters by which a statement knows the delivery of a job, and finds out whether it still holds. */
const HELD = "job.id = $1 and job.locked_by = $2";
const UNSETTLED = `${HELD} and job.attempts = $3 and job.key is not distinct from $4`;
/** By an earlier call of the same statement, or because another producer has put a job in its place. */
const SETTLED = `${HELD} and (job.attempts = ${MOST_ATTEMPTS} or job.key is distinct from $4)`;

/**
 * Processes that start at once make the schema at once, and graphile-worker 0.16 gives up where another was first
 * (https://github.com/graphile/worker/issues/496). 0.18 tries again by itself, so this may go with 0.16.
 */
const RIVALS = 10;
const RIVAL_PAUSE_MS = 100;
/** SQLSTATEs of a schema that is just made by another process: a unique violation, a changed row of the catalogue. */
const MADE_ELSEWHERE: readonly unknown[] = ["23505", "XX000"];

const OPENED: readonly string[] = ["connect", "acquire"];

/** How many engines use a pool: they share one listener for each event. */
const users = new WeakMap<GraphilePool, number>();
/** Connections with a listener from here; it stays, as they may outlive every engine. */
const heard = new WeakSet<GraphileEmitter>();

/** The part of a graphile-worker job that is read; the same in every supported version. */
export interface GraphileJob {
  /** A bigserial: text, unless the application told `pg` to parse it. */
  readonly id: string | number | bigint;
  readonly key: string | null;
  readonly task_identifier: string;
  readonly payload: unknown;
  readonly run_at: Date;
  readonly created_at: Date;
  /** Deliveries, this one included. */
  readonly attempts: number;
  readonly max_attempts: number;
  readonly last_error: string | null;
  readonly locked_at: Date | null;
  /** The worker that runs it. */
  readonly locked_by: string | null;
  readonly priority: number;
  readonly job_queue_id: number | null;
  /** How often it has been replaced under its key. */
  readonly revision: number;
  readonly flags: Readonly<Record<string, unknown>> | null;
}

/** The task lists of the engines of all copies of this package, whose tasks are attempts already. */
export const ownLists: WeakSet<object> = shared("graphile-own-lists.1", () => new WeakSet<object>());

/** The part of graphile-worker's `TaskSpec` that `addJob` takes. */
export interface GraphileJobSpec {
  queueName?: string;
  runAt?: Date;
  maxAttempts?: number;
  jobKey?: string;
  jobKeyMode?: "replace" | "preserve_run_at" | "unsafe_dedupe";
  priority?: number;
  flags?: string[];
}

/** The part of a `pg` client that is used. */
export interface GraphileClient {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

/** The part of graphile-worker's `WorkerUtils` that is used. */
export interface GraphileUtils {
  migrate(): Promise<void>;
  withPgClient<T>(callback: (client: GraphileClient) => Promise<T>): Promise<T>;
  release(): unknown;
}

/** The part of graphile-worker's `Runner` that is used. */
export interface GraphileRunner {
  stop(): Promise<unknown>;
  readonly promise: Promise<unknown>;
}

/** The part of a `pg` pool that is used beside handing it to graphile-worker. */
export interface GraphilePool {
  connect(): Promise<unknown>;
  on(event: string, listener: (client: GraphileEmitter) => void): unknown;
  off(event: string, listener: (client: GraphileEmitter) => void): unknown;
}

export interface GraphileEmitter {
  on(event: string, listener: (error: unknown) => void): unknown;
  listenerCount(event: string): number;
}

/** The part of graphile-worker's `JobHelpers` that is used wherever one of its tasks is called. */
export interface GraphileHelpers {
  readonly job: GraphileJob;
}

/** A function that graphile-worker calls for each job of one identifier. */
export type GraphileTask = (payload: unknown, helpers: GraphileHelpers) => Promise<void>;

/** An event of graphile-worker's, which has those of the fields that belong to its name. */
export interface GraphileEvent {
  readonly worker: { readonly workerId: string };
  readonly workerPool: { readonly id: string };
}

/** The part of graphile-worker's `Logger` that it calls itself. */
export interface GraphileLogger {
  scope(): GraphileLogger;
  error(message: string, meta?: { readonly failure?: unknown }): void;
  warn(message: string): void;
  info(message: string): void;
  debug(message: string): void;
}

/** SQL of the engine, in one schema. */
export interface Statements {
  readonly add: string;
  readonly addFresh: string;
  readonly putBack: string;
  readonly giveUp: string;
  readonly find: string;
  readonly take: string;
  readonly countLive: string;
  readonly unlockAll: string;
  readonly complete: string;
  readonly free: string;
}

/**
 * Sends graphile-worker's lines to diag, in place of its console logger, which prints one for every job. A task that
 * failed is told by its span, so its line counts as debugging.
 */
export const diagLogger: GraphileLogger = Object.freeze({
  scope: () => diagLogger,
  error: (message: string, meta?: { readonly failure?: unknown }) => {
    if (meta?.failure === true) debug(message);
    else warn(message);
  },
  warn: (message: string) => warn(message),
  info: (message: string) => debug(message),
  debug: (message: string) => debug(message),
});

/** A schema's name as SQL. */
export function quoted(schema: string): string {
  return `"${schema.replaceAll('"', '""')}"`;
}

/**
 * SQL by which a running job has spent its attempts, so that it never runs again once graphile-worker has failed it:
 * `$1` is its id, `$2` the worker that has locked it. Returns a row where it did. graphile-worker's own functions do so
 * for jobs with a key alone, up to 0.18 (https://github.com/graphile/worker/issues/148), hence the table behind its view.
 */
export function spendAttempts(schema: string): string {
  const jobs = `${quoted(schema)}._private_jobs`;
  return `update ${jobs} set attempts = max_attempts where id = $1 and locked_by = $2 returning id`;
}

/**
 * graphile-worker's own SQL functions wherever it has one: https://worker.graphile.org/docs/sql-add-job. None of them
 * depends on who has locked a job, or on whether it has ended, so those that store the end of an attempt, or take a job
 * that waits, use the table behind its view as well. Times are the server's.
 */
export function statementsOf(name: string): Statements {
  const schema = quoted(name);
  const jobs = `${schema}._private_jobs as job`;
  const spend = (more: string): string => `update ${jobs}
    set key = null, attempts = ${MOST_ATTEMPTS}, max_attempts = ${MOST_ATTEMPTS}, updated_at = now()${more}
    where ${UNSETTLED} returning job.*`;
  const isSettled = `exists (select from ${jobs} where ${SETTLED})`;
  const live = "locked_at is not null or attempts < max_attempts";
  return {
    add: `select revision, locked_at, attempts, max_attempts from ${schema}.add_job(
      identifier => $1::text, payload => $2::json, run_at => now() + $3::float8 * interval '1 millisecond',
      max_attempts => ${MOST_ATTEMPTS}, job_key => $4::text, job_key_mode => $5::text)`,
    // whoever stores names at the same moment for the first time does so in the same order
    addFresh: `select from (
        select * from unnest($1::text[], $2::json[], $3::float8[], $4::text[]) as task(identifier, payload, delay, id)
        order by identifier) as task,
      lateral ${schema}.add_job(
        identifier => task.identifier, payload => task.payload, run_at => now() + task.delay * interval '1 millisecond',
        max_attempts => ${MOST_ATTEMPTS}, job_key => task.id, job_key_mode => 'unsafe_dedupe') as added`,
    // the next run is a job of its own, which keeps what another producer gave this one
    putBack: `with spent as (${spend("")}), next as (
      select added.id from spent, lateral ${schema}.add_job(
        identifier => $5::text, payload => $6::json, run_at => now() + $7::float8 * interval '1 millisecond',
        queue_name => (select queue_name from ${schema}._private_job_queues where id = spent.job_queue_id),
        max_attempts => ${MOST_ATTEMPTS}, job_key => $8::text, priority => spent.priority::int,
        flags => (select array_agg(flag) from jsonb_object_keys(spent.flags) as flag)) as added)
      select exists (select from next) or ${isSettled} as stored`,
    giveUp: `with spent as (${spend(", last_error = $5::text")})
      select exists (select from spent) or ${isSettled} as stored`,
    find: `select id::text, task_identifier, locked_by from ${schema}.jobs where key = $1 and (${live})`,
    take: `delete from ${jobs} where id = $1 and key = $2 and locked_at is null and attempts < max_attempts
      returning job.*, txid_current()::text as transaction`,
    countLive: `select count(*)::int from ${schema}.jobs where task_identifier = any($1)
      and (attempts < max_attempts or (locked_at is not null and (key is not null or locked_by = any($2))))`,
    unlockAll: `select ${schema}.force_unlock_workers(array(
      select distinct locked_by from ${schema}.jobs where locked_by is not null))`,
    complete: `delete from ${jobs} where locked_by = any($1) and id = any($2::bigint[])`,
    free: `with done as (delete from ${jobs} where locked_by = any($1) and id = any($2::bigint[]) returning id)
      select ${schema}.force_unlock_workers($1) from (select count(*) from done) as counted`,
  };
}

/** Makes the schema, again where another process was just making it. */
export async function amongRivals<T>(make: () => Promise<T>): Promise<T> {
  for (let rival = 1; ; rival += 1) {
    try {
      return await make();
    } catch (error) {
      if (rival === RIVALS || !MADE_ELSEWHERE.includes(sqlStateOf(error))) throw error;
      await pause(RIVAL_PAUSE_MS);
    }
  }
}

/**
 * Listens to the errors of a pool and of its connections, because one that nobody hears ends the process. Returns a
 * function that stops that for this caller, however often it is called.
 */
export function hearPoolErrors(pool: GraphilePool): () => void {
  if (use(pool, 1) === 1) {
    pool.on("error", tellError);
    for (const event of OPENED) pool.on(event, hearErrors);
  }
  let isHeard = true;
  return () => {
    if (!isHeard) return;
    isHeard = false;
    if (use(pool, -1) > 0) return;
    pool.off("error", tellError);
    for (const event of OPENED) pool.off(event, hearErrors);
  };
}

function use(pool: GraphilePool, by: 1 | -1): number {
  const count = (users.get(pool) ?? 0) + by;
  users.set(pool, count);
  return count;
}

// A connection that breaks says so to whoever uses it, too. The pool's own listener is there until right after this, and
// says nothing of what comes later.
function hearErrors(client: GraphileEmitter): void {
  if (heard.has(client)) return;
  heard.add(client);
  client.on("error", tellError);
}

function tellError(error: unknown): void {
  warn("a connection to PostgreSQL broke", error);
}
