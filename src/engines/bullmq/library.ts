import { isTaskStoreError } from "../../core/errors.js";
import { debug } from "../../core/guard.js";
import { within } from "../../core/within.js";
import { isUnavailable, sqlStateOf } from "../outage.js";
import type { BullmqJob } from "./stored-task.js";

// These types are the part of BullMQ that is used: every major version has it, and so have Pro and any of its backends.

/** The names by which a worker knows what an error means, whatever its class; seen in BullMQ 5.81 and 6.7. */
export const GIVES_UP = "UnrecoverableError";
export const PUTS_OFF = "DelayedError";

/** A job as a queue finds it. */
export interface BullmqStoredJob extends BullmqJob {
  getState(): Promise<string>;
}

/** A job as it is added. */
export interface NewJob {
  readonly name: string;
  readonly data: object;
  readonly opts: object;
}

export interface BullmqQueue {
  add(name: string, data: object, options: object): Promise<unknown>;
  addBulk(jobs: NewJob[]): Promise<unknown[]>;
  getJob(id: string): Promise<BullmqStoredJob | undefined>;
  getJobCounts(): Promise<Readonly<Record<string, number>>>;
  /** 1 when the job is gone, 0 while a worker holds it. */
  remove(id: string, options?: { removeChildren?: boolean }): Promise<number>;
  /** The name of a key of this queue's in Redis. */
  toKey(name: string): string;
  on(event: "error", listener: (error: Error) => void): unknown;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
  disconnect(): Promise<void>;
}

/** A job as a worker runs it. */
export interface BullmqWorkerJob extends BullmqJob {
  stacktrace?: BullmqJob["stacktrace"];
  updateData(data: object): Promise<void>;
  moveToDelayed(timestamp: number, token?: string): Promise<void>;
  /** A worker calls this, or the next, when its processor has ended; what they give holds the next job for it. */
  moveToCompleted(result: unknown, token: string, fetchNext?: boolean): Promise<unknown>;
  moveToFailed(error: Error, token: string, fetchNext?: boolean): Promise<unknown>;
  /** 1 where the job is still this token's. */
  extendLock(token: string, duration: number): Promise<number>;
}

export interface BullmqWorker {
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "active" | "completed", listener: (job: BullmqWorkerJob) => void): unknown;
  on(event: "failed", listener: (job: BullmqWorkerJob | undefined, error: Error) => void): unknown;
  waitUntilReady(): Promise<unknown>;
  /** Resolves when it has been paused or closed. */
  run(): Promise<void>;
  /** Takes no more jobs; resolves when those it has are carried out. */
  pause(): Promise<void>;
  close(force: boolean): Promise<void>;
}

export type BullmqProcessor = (job: BullmqWorkerJob, token?: string) => Promise<void>;

/** BullMQ's class `Queue`; what options it takes is between it and the application. */
export type BullmqQueueClass = new (name: string, options: never) => BullmqQueue;

/** BullMQ's class `Worker`. */
export type BullmqWorkerClass = new (name: string, processor: BullmqProcessor, options: never) => BullmqWorker;

/** The part of BullMQ's Redis client that is used. */
interface RedisClient {
  /** What ioredis says of its connection; other clients may not. */
  readonly status?: string | undefined;
  once(event: "ready", listener: () => void): unknown;
  defineCommand(name: string, definition: { readonly numberOfKeys: number; readonly lua: string }): unknown;
  /** Runs a script that was defined; earlier releases of BullMQ 5 have it as a method of the client. */
  runCommand?(name: string, args: readonly string[]): Promise<unknown>;
}

/** The part of a `pg.Pool`, and of its clients, that is used. */
interface Emitter {
  on(event: string, listener: (client: Emitter) => void): unknown;
}

/** On the queues and workers of this library's engine, whichever copy of it made them. */
const OF_ENGINE = Symbol.for("otel-taskflow.of-engine");
/** What ioredis calls a connection that it is about to make. */
const UNCONNECTED: readonly unknown[] = ["connecting", "reconnecting", "close"];
/** Pools, and their clients, that have a listener from here. */
const heard = new WeakSet<Emitter>();
/** Begins the codes by which Node says that a connection is gone, or cannot be made. */
const OUTAGE_CODE = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENET)/;
/** Texts that say the same without a code: ioredis 5 has the first line, pg 8 the second, Redis 6 and 7 the third. */
const OUTAGE_TEXTS = [
  ...["Connection is closed", "isn't writeable", "max retries per request", "timed out"],
  ...["Connection terminated", "timeout"],
  ...["LOADING", "CLUSTERDOWN"],
].map((text) => text.toLowerCase());
const CLOSE_MS = 5_000;
const WITHDRAW = "otelTaskflowWithdraw";
const WITHDRAW_FROM = ["wait", "paused", "delayed", "prioritized"] as const;
/** A field of a job that has been withdrawn: by whom. */
const WITHDRAWN_BY = "otel-taskflow";
const WITHDRAW_SCRIPT = `
  local id, token, field = ARGV[1], ARGV[2], ARGV[3]
  local withdrawn = redis.call("LREM", KEYS[1], 1, id) + redis.call("LREM", KEYS[2], 1, id)
    + redis.call("ZREM", KEYS[3], id) + redis.call("ZREM", KEYS[4], id)
  if withdrawn > 0 and redis.call("EXISTS", KEYS[5]) == 1 then redis.call("HSET", KEYS[5], field, token) end
  if withdrawn == 0 and redis.call("HGET", KEYS[5], field) == token then return 1 end
  return withdrawn
`;

/**
 * Takes a waiting job out of where workers find jobs in Redis: false where it is no longer there, so that one alone of
 * all who try gets true, and gets it again where it asks again with its `token`. `remove` says 1 to each of them, and for
 * a job that has ended meanwhile and is gone, as of BullMQ 6.7 (taskforcesh/bullmq#4522). `undefined` where the queue is
 * not in Redis.
 */
export async function withdraw(queue: BullmqQueue, id: string, token: string): Promise<boolean | undefined> {
  const redis = await redisOf(queue);
  if (redis === undefined) return undefined;
  redis.defineCommand(WITHDRAW, { numberOfKeys: WITHDRAW_FROM.length + 1, lua: WITHDRAW_SCRIPT });
  const keys = [...WITHDRAW_FROM, id].map((name) => queue.toKey(name));
  const args = [...keys, id, token, WITHDRAWN_BY];
  // `defineCommand` has made this method
  const scripts = redis as unknown as Record<string, (args: readonly string[]) => Promise<unknown>>;
  const withdrawn = await (redis.runCommand?.(WITHDRAW, args) ?? scripts[WITHDRAW]?.(args));
  return Number(withdrawn) > 0;
}

/** A queue's client, once it is connected to Redis for the first time; on PostgreSQL there is none. */
export async function redisOf(queue: BullmqQueue): Promise<RedisClient | undefined> {
  // BullMQ 5 has it here, BullMQ 6 there, and its types in neither place for others to use
  const { client, backend } = queue as { client?: unknown; backend?: { client?: unknown } };
  // it is a promise of the client, or on PostgreSQL nothing
  return (await (client ?? backend?.client)) as RedisClient | undefined;
}

/** Marks a queue or worker of the engine, whose jobs are tasks already: the host sees to their spans. */
export function markAsEngines<Made extends object>(made: Made): Made {
  return Object.defineProperty(made, OF_ENGINE, { value: true });
}

/** Whether a queue or worker is the engine's. */
export function isEngines(made: object): boolean {
  return OF_ENGINE in made;
}

/** Whether a worker of the engine runs this job. */
export function isRunByEngine({ queue }: { readonly queue?: unknown }): boolean {
  return typeof queue === "object" && queue !== null && isEngines(queue);
}

/** Whether a client has a connection, as far as it says. */
export function isConnected({ status }: RedisClient): boolean {
  return !UNCONNECTED.includes(status);
}

/**
 * Hears the errors of every connection to PostgreSQL, those included that BullMQ has taken out of its pool: as of 6.7 it
 * leaves them alone while it looks at its schema, and one that broke then would end the process.
 */
export function hearConnections(owner: object): void {
  // its types have it nowhere; on Redis there is no pool
  const { backend } = owner as { backend?: { connection?: { pool?: Emitter } } };
  const pool = backend?.connection?.pool;
  if (pool === undefined || heard.has(pool)) return;
  heard.add(pool);
  for (const event of ["connect", "acquire"]) pool.on(event, hearErrors);
}

// Whoever uses a connection hears of its errors, too.
function hearErrors(client: Emitter): void {
  if (heard.has(client)) return;
  heard.add(client);
  client.on("error", (error) => debug("a connection to PostgreSQL broke", error));
}

/** Whether an error says that the server gave no answer. */
export function isOutage(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  const sqlState = sqlStateOf(error);
  if (sqlState !== undefined) return isUnavailable(sqlState);
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === "string" && OUTAGE_CODE.test(code)) return true;
  const text = typeof message === "string" ? message.toLowerCase() : "";
  return OUTAGE_TEXTS.some((one) => text.includes(one));
}

/** Whether none of the jobs of a request was added: PostgreSQL, which says why by an SQLSTATE, adds all of them or none. */
export function isRefusalOfAll(error: unknown): boolean {
  return !isTaskStoreError(error) && sqlStateOf(error) !== undefined;
}

/** Gives up a queue's connections; a `graceful` close lets BullMQ come to its end, for some seconds. */
export async function closeQueue(queue: BullmqQueue, graceful: boolean): Promise<void> {
  if (
    graceful &&
    (await within(
      CLOSE_MS,
      queue.close().then(() => true),
      false,
    ))
  )
    return;
  // a connection that was never made is given up by the one, a lost one by the other; neither may ever resolve
  queue.disconnect().catch(() => {});
  queue.close().catch(() => {});
}
