import type { BullmqJob } from "./stored-task.js";

// These types are the part of BullMQ that is used: every major version has it, and so have Pro and any of its backends.

/** The names by which a worker knows what an error means, whatever its class; seen in BullMQ 5.81 and 6.7. */
export const GIVES_UP = "UnrecoverableError";
export const PUTS_OFF = "DelayedError";

/** A job as a queue finds it. */
export interface BullmqStoredJob extends BullmqJob {
  getState(): Promise<string>;
}

export interface BullmqQueue {
  add(name: string, data: object, options: object): Promise<unknown>;
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
  updateData(data: object): Promise<void>;
  moveToDelayed(timestamp: number, token?: string): Promise<void>;
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
  defineCommand(name: string, definition: { readonly numberOfKeys: number; readonly lua: string }): unknown;
  /** Runs a script that was defined; earlier releases of BullMQ 5 have it as a method of the client. */
  runCommand?(name: string, args: readonly string[]): Promise<unknown>;
}

const WITHDRAW = "otelTaskflowWithdraw";
const WITHDRAW_FROM = ["wait", "paused", "delayed", "prioritized"] as const;
const WITHDRAW_SCRIPT = `
  local id = ARGV[1]
  return redis.call("LREM", KEYS[1], 1, id) + redis.call("LREM", KEYS[2], 1, id)
    + redis.call("ZREM", KEYS[3], id) + redis.call("ZREM", KEYS[4], id)
`;

/**
 * Takes a waiting job out of where workers find jobs in Redis: false where it is no longer there, so that one alone of
 * all who try gets true. `remove` says 1 to each of them, and for a job that has ended meanwhile and is gone, as of
 * BullMQ 6.7 (taskforcesh/bullmq#4522). `undefined` where the queue is not in Redis.
 */
export async function withdraw(queue: BullmqQueue, id: string): Promise<boolean | undefined> {
  // BullMQ 5 has it here, BullMQ 6 there, and its types in neither place for others to use
  const { client, backend } = queue as { client?: unknown; backend?: { client?: unknown } };
  // it is a promise of the client, or on PostgreSQL nothing
  const redis = (await (client ?? backend?.client)) as RedisClient | undefined;
  if (redis === undefined) return undefined;
  redis.defineCommand(WITHDRAW, { numberOfKeys: WITHDRAW_FROM.length, lua: WITHDRAW_SCRIPT });
  const args = [...WITHDRAW_FROM.map((name) => queue.toKey(name)), id];
  // `defineCommand` has made this method
  const scripts = redis as unknown as Record<string, (args: readonly string[]) => Promise<unknown>>;
  const withdrawn = await (redis.runCommand?.(WITHDRAW, args) ?? scripts[WITHDRAW]?.(args));
  return Number(withdrawn) > 0;
}
