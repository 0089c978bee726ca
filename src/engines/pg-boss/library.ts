import type { TaskRoute } from "../../core/attributes.js";
import { safely, warn } from "../../core/guard.js";
import type { Carrier } from "../../core/types.js";
import { wireTime } from "../../core/wire.js";
import { isUnavailable, sqlStateOf } from "../outage.js";
import { untraced } from "../untraced.js";

/** Value of `task.engine`, and of `messaging.system`, for which there is no convention. */
export const PG_BOSS = "pg-boss";
/** The classes of a value that PostgreSQL cannot keep: a data exception, or a limit exceeded. */
const CONTENT = /^(22|54)/;
/** The table, the schema, the function or the type of a statement is not there, so that it did nothing. */
const UNDEFINED = /^(42P01|3F000|42883|42704)$/;
const NO_QUEUE = /^Queue .+ does not exist/;
const NO_DATABASE = "3D000";
/** Beyond what PostgreSQL can add to a date. */
const MAX_DELAY_MS = 1e13;
/** On the options of calls that this library makes by itself, whichever copy of it does. */
const OWN_CALL = Symbol.for("otel-taskflow.own-call");
/** How many engines use an instance of pg-boss. */
const users = new WeakMap<PgBossInstance, number>();

/** One attempt's claim of a job. */
interface NumberedClaim {
  readonly id: string;
  readonly retryCount: number;
}

/** A claim of a job as pg-boss takes it: the job's id, from 12.35 on with the number of the claim. */
export type JobClaim = string | NumberedClaim;

/** Claims of several jobs, of one kind. */
export type JobClaims = string[] | NumberedClaim[];

/** The part of a job that tells which job it is; one from a dead letter queue names the job that it was as well. */
export interface AddressedJob {
  readonly id: string;
  readonly sourceId?: string | null;
  readonly sourceRootId?: string | null;
}

/** The part of a fetched job that is read, where it comes without its metadata. */
export interface BriefJob extends Pick<AddressedJob, "id"> {
  /** Anything: a producer of another kind may have stored it. */
  readonly data: unknown;
  /** Claims before this one: failures, crashes and jobs given back alike. */
  readonly retryCount: number;
  /** Seconds without a {@link PgBossInstance.touch} after which pg-boss takes a claim for lost; `null`: it never does. */
  readonly heartbeatSeconds: number | null;
  readonly groupId?: string | null;
}

/** The part of a fetched job that is read, with its metadata. */
export interface FetchedJob extends BriefJob, AddressedJob {
  /** `created`, `retry`, `active`, `completed`, `cancelled` or `failed`. */
  readonly state: string;
  /** `undefined` until it is asked for, where the job came without its metadata. */
  retryLimit: number | undefined;
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
  stop(options: { readonly timeout?: number; readonly graceful?: boolean }): Promise<void>;
  createQueue(name: string, options: { readonly policy: string }): Promise<unknown>;
  getQueue(name: string): Promise<{ readonly policy?: string } | null>;
  insert(
    name: string,
    jobs: { readonly id: string }[],
    options: { readonly returnId: true },
  ): Promise<readonly string[] | null>;
  fetch(name: string, options: FetchQuery & { readonly includeMetadata: true }): Promise<readonly FetchedJob[]>;
  fetch(name: string, options: FetchQuery): Promise<readonly BriefJob[]>;
  findJobs(name: string, options: JobQuery): Promise<readonly FetchedJob[]>;
  update(name: string, data: object | undefined, options: JobUpdate): Promise<{ readonly jobs: readonly string[] }>;
  touch(name: string, claims: JobClaims): Promise<unknown>;
  complete(name: string, claims: JobClaims): Promise<CommandAnswer>;
  fail(name: string, claim: JobClaim, output: object): Promise<CommandAnswer>;
  cancel(name: string, claim: JobClaim): Promise<CommandAnswer>;
  retry(name: string, id: string): Promise<unknown>;
}

/** The part of an instance of pg-boss by which its tables are read. */
interface Database {
  getDb?(): { executeSql(text: string, values: unknown[]): Promise<{ rows: { id: string; carrier: unknown }[] }> };
}

export interface FetchQuery {
  readonly batchSize: number;
  readonly includeMetadata?: true;
  readonly minPriority: number;
  readonly maxPriority: number;
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
export interface CommandAnswer {
  readonly affected?: number;
}

/** Where the tasks of a queue go to, as their spans and metrics say it. */
export function routeOf(queue: string): TaskRoute {
  return { engine: PG_BOSS, system: PG_BOSS, destination: queue };
}

/** Marks the options of a call of this library's own, whose jobs are tasks already. */
export function ownCall<Options extends object>(options: Options): Options {
  return { ...options, [OWN_CALL]: true };
}

/** Whether a call with these options is this library's own. */
export function isOwnCall(options: unknown): boolean {
  return OWN_CALL in Object(options);
}

/** Names the very claim of a fetched job, so that nothing is settled which another worker has claimed since. */
export function claimOf(job: FetchedJob): JobClaim {
  return takesClaims(job) ? { id: job.id, retryCount: job.retryCount } : job.id;
}

/** Whether the job's pg-boss takes claims, and counts them in a job without its metadata. */
export function takesClaims(job: FetchedJob): boolean {
  // it does since the version whose jobs have this field
  return "sourceRootId" in job;
}

/** The claims of several jobs, as {@link claimOf} names each. */
export function claimsOf(jobs: readonly FetchedJob[]): JobClaims {
  const claims = jobs.map(claimOf);
  const plain = claims.filter((claim) => typeof claim === "string");
  return plain.length > 0 ? plain : claims.filter((claim) => typeof claim !== "string");
}

/** When a job was due, in epoch milliseconds; `undefined` where the database driver gave no date. */
export function dueTime(startAfter: unknown): number | undefined {
  const isTime = startAfter instanceof Date || typeof startAfter === "string";
  return isTime ? wireTime(new Date(startAfter).getTime()) : undefined;
}

/** The seconds from now until `dueAt`, in epoch milliseconds, as pg-boss takes them; 0 for a time that has passed. */
export function secondsUntil(dueAt: number): number {
  const delay = Math.min(dueAt - Date.now(), MAX_DELAY_MS);
  return Math.max(0, Math.ceil(delay)) / 1000;
}

/** What the trace column of each of these jobs holds, as pg-boss 12.38 names it. Rejects when the database does. */
export async function carriersOf(
  boss: Database,
  schema: string,
  queue: string,
  jobs: readonly Pick<AddressedJob, "id">[],
): Promise<(Carrier | undefined)[]> {
  const text = `select id, trace_context as carrier from ${schema}.job where name = $1 and id = any($2::uuid[])`;
  const answer = await untraced(() => boss.getDb?.().executeSql(text, [queue, jobs.map(({ id }) => id)]));
  const carriers = new Map(answer?.rows.map(({ id, carrier }) => [id, carrierIn(carrier)]));
  return jobs.map(({ id }) => carriers.get(id));
}

// A database driver may hand JSON back as a text.
function carrierIn(stored: unknown): Carrier | undefined {
  const value: unknown = typeof stored === "string" ? safely("reading a carrier", () => JSON.parse(stored)) : stored;
  // whoever reads a carrier believes nothing of it
  return typeof value === "object" && value !== null ? (value as Carrier) : undefined;
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
  return CONTENT.test(sqlStateOf(error) ?? "");
}

/** Whether what is asked of is not there (any more): pg-boss's tables, or the queue. Never throws. */
export function isMissing(error: unknown): boolean {
  return UNDEFINED.test(sqlStateOf(error) ?? "") || (error instanceof Error && NO_QUEUE.test(error.message));
}

/** Whether an error came about because the store gave no answer, or none that concerns the request. Never throws. */
export function isOutage(error: unknown): boolean {
  const sqlState = sqlStateOf(error);
  return sqlState === undefined || sqlState === NO_DATABASE || isUnavailable(sqlState) || isMissing(error);
}
