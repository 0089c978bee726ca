import type { TaskRoute } from "../../core/attributes.js";
import { wireTime } from "../../core/wire.js";
import type { AddressedJob } from "./carried-data.js";
import type { Scheduler } from "./carriers.js";

/** Value of `task.engine`, and of `messaging.system`, for which there is no convention. */
const PG_BOSS = "pg-boss";

/** What pg-boss takes for one claim of a job: its id, from 12.35 on with the number of the claim. */
export type JobClaim = string | { readonly id: string; readonly retryCount: number };

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
  /** What the last failure left, pg-boss's own included. */
  readonly output: unknown;
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
  fail(name: string, claim: JobClaim, output: object): Promise<{ readonly affected?: number }>;
  cancel(name: string, claim: JobClaim): Promise<unknown>;
  retry(name: string, id: string): Promise<unknown>;
}

interface FetchQuery {
  readonly batchSize: number;
  readonly includeMetadata: true;
  ignoreGroups: string[];
}

interface JobQuery {
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
