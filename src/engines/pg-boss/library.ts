import type { TaskRoute } from "../../core/attributes.js";
import { warn } from "../../core/guard.js";
import { wireTime } from "../../core/wire.js";

/** Value of `task.engine`, and of `messaging.system`, for which there is no convention. */
const PG_BOSS = "pg-boss";
/**
 * Classes of SQLSTATE that say something of the server, not of the statement: no connection, no room, shutting down.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const UNAVAILABLE = new Set(["08", "53", "57", "58"]);
/** The classes of a value that PostgreSQL cannot keep: a data exception, or a limit exceeded. */
const CONTENT = new Set(["22", "54"]);
const SQL_STATE = /^[0-9FHPX][0-9A-Z]{4}$/;
/** How many engines use an instance of pg-boss. */
const users = new WeakMap<PgBossInstance, number>();

/** A claim of a job as pg-boss takes it: the job's id, from 12.35 on with the number of the claim. */
export type JobClaim = string | { readonly id: string; readonly retryCount: number };

/** The part of a job that tells which job it is; one from a dead letter queue names the job that it was as well. */
export interface AddressedJob {
  readonly id: string;
  readonly sourceId?: string | null;
  readonly sourceRootId?: string | null;
}

/** The part of a fetched job that is read, with its metadata. */
export interface FetchedJob extends AddressedJob {
  /** Anything: a producer of another kind may have stored it. */
  readonly data: unknown;
  /** Claims before this one: failures, crashes and jobs given back alike. */
  readonly retryCount: number;
  readonly retryLimit: number;
  /** A Date, unless the application has told its database driver otherwise. */
  readonly startAfter: unknown;
  readonly singletonKey: string | null;
  /** The output of the last failure, pg-boss's own included. */
  readonly output: unknown;
}

/** The part of a `PgBoss` instance that knows its schedules. */
export interface Scheduler {
  getSchedules?(name: string): Promise<readonly { readonly data?: unknown }[]>;
}

/** The part of a `PgBoss` instance, version 12.25 or later, that the engine uses. */
export interface PgBossInstance extends Scheduler {
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "error", listener: (error: Error) => void): unknown;
  start(): Promise<unknown>;
  stop(options: { readonly timeout: number }): Promise<void>;
  createQueue(name: string, options: { readonly policy: string }): Promise<unknown>;
  getQueue(name: string): Promise<{ readonly policy?: string } | null>;
  send(name: string, data: object, options: object): Promise<string | null>;
  fetch(name: string, options: FetchQuery): Promise<readonly FetchedJob[]>;
  findJobs(name: string, options: JobQuery): Promise<readonly FetchedJob[]>;
  update(name: string, data: object | undefined, options: JobUpdate): Promise<{ readonly jobs: readonly string[] }>;
  touch(name: string, claim: JobClaim): Promise<unknown>;
  complete(name: string, claim: JobClaim): Promise<unknown>;
  fail(name: string, claim: JobClaim, output: object): Promise<CommandAnswer>;
  cancel(name: string, claim: JobClaim): Promise<CommandAnswer>;
  retry(name: string, id: string): Promise<unknown>;
}

interface FetchQuery {
  readonly batchSize: number;
  readonly includeMetadata: true;
  ignoreGroups: string[];
}

export interface JobQuery {
  readonly id?: string;
  readonly key?: string;
  readonly queued?: boolean;
  readonly limit?: number;
}

/** Changes a job that is not running; seconds, counted by the database's clock. */
interface JobUpdate {
  readonly id?: string;
  readonly singletonKey?: string;
  readonly startAfter?: number;
  readonly retryLimit?: number;
}

/** How many jobs a command has changed: 0 where the job had ended, or somebody else has claimed it since. */
interface CommandAnswer {
  readonly affected?: number;
}

/** Where the tasks of a queue go to, as their spans and metrics say it. */
export function routeOf(queue: string): TaskRoute {
  return { engine: PG_BOSS, system: PG_BOSS, destination: queue };
}

/** Names the very claim of a fetched job, so that nothing is settled which another worker has claimed since. */
export function claimOf(job: FetchedJob): JobClaim {
  // pg-boss takes claims since the version whose jobs have this field
  return "sourceRootId" in job ? { id: job.id, retryCount: job.retryCount } : job.id;
}

/** When a job was due, in epoch milliseconds; `undefined` where the database driver gave no date. */
export function dueTime(startAfter: unknown): number | undefined {
  const isTime = startAfter instanceof Date || typeof startAfter === "string";
  return isTime ? wireTime(new Date(startAfter).getTime()) : undefined;
}

/**
 * Listens to an instance's errors, once however many engines use it: without a listener, Node would end the process.
 * Returns how to stop, which is to be called once.
 */
export function listenTo(boss: PgBossInstance): () => void {
  if (count(boss, 1) === 1) boss.on("error", tell);
  return () => {
    if (count(boss, -1) === 0) boss.off("error", tell);
  };
}

function count(boss: PgBossInstance, step: 1 | -1): number {
  const number = (users.get(boss) ?? 0) + step;
  users.set(boss, number);
  return number;
}

function tell(error: unknown): void {
  warn("pg-boss", error);
}

/** Whether a store has refused what it was to store, so that storing less may succeed. Never throws. */
export function isRefusal(error: unknown): boolean {
  return CONTENT.has(sqlClassOf(error));
}

/** Whether an error came about because the store gave no answer, or none that concerns the request. Never throws. */
export function isOutage(error: unknown): boolean {
  const sqlClass = sqlClassOf(error);
  return sqlClass === "" || UNAVAILABLE.has(sqlClass);
}

// The driver `pg` and PGlite give the SQLSTATE as `code`, Bun's as `errno`.
function sqlClassOf(error: unknown): string {
  try {
    // anything may have been thrown: what has no such properties, or throws at them, has no SQLSTATE
    const { code, errno } = error as { code?: unknown; errno?: unknown };
    const state = [code, errno].find((value) => typeof value === "string" && SQL_STATE.test(value));
    return String(state ?? "").slice(0, 2);
  } catch {
    return "";
  }
}
