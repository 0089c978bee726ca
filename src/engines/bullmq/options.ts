import {
  checkFunction,
  checkKeys,
  checkNumber,
  checkObject,
  checkOptional,
  checkText,
  MAX_TIMER_MS,
  namesOf,
  show,
} from "../../core/checks.js";
import { TaskConfigError } from "../../core/errors.js";
import type { BullmqQueueClass, BullmqWorkerClass } from "./library.js";

export interface BullmqEngineOptions {
  /** BullMQ's class `Queue`, of version 5 or 6, of Pro, or of `withBackend(createPostgresBackend)`. */
  readonly Queue: BullmqQueueClass;
  /** BullMQ's class `Worker`, from where `Queue` comes. */
  readonly Worker: BullmqWorkerClass;
  /** As BullMQ takes it: options, or a client that stays the application's to close. */
  readonly connection: object | string;
  /** The queue's name, without a colon. Default `"otel-taskflow"`. */
  readonly queue?: string | undefined;
  /** Attempts running at once in this process. Default 100. */
  readonly concurrency?: number | undefined;
  /** A task gives up when so many runs of one attempt were lost, with their workers. Default 10. */
  readonly maxLost?: number | undefined;
  /** Prefix of all keys in Redis. Default: BullMQ's own. */
  readonly prefix?: string | undefined;
  /** More options of `Queue`. Its `defaultJobOptions` say what is kept of tasks that ended. */
  readonly queueOptions?: object | undefined;
  /**
   * More options of `Worker`, such as `lockDuration`, `stalledInterval`. `maxStartedAttempts` bounds the attempts of any
   * task, whatever its retries; an attempt that was lost is none. A `maxStalledCount` below `maxLost` has BullMQ itself
   * give a task up, which only diag is told.
   */
  readonly workerOptions?: object | undefined;
}

const KEYS = namesOf<BullmqEngineOptions>({
  Queue: true,
  Worker: true,
  connection: true,
  queue: true,
  concurrency: true,
  maxLost: true,
  prefix: true,
  queueOptions: true,
  workerOptions: true,
});

/** {@link BullmqEngineOptions}, checked and complete. */
export interface BullmqEngineSettings {
  readonly Queue: BullmqQueueClass;
  readonly Worker: BullmqWorkerClass;
  readonly queue: string;
  readonly queueOptions: object;
  readonly workerOptions: object;
  /** Milliseconds after which a job that a worker does not hold on to is another's. */
  readonly lockDuration: number;
  readonly maxLost: number | undefined;
  /** The most attempts of any task, whatever its own policy. */
  readonly mostAttempts: number;
}

/** Not BullMQ gives a task up whose runs were lost, but the host. PostgreSQL takes no larger number. */
const DEFAULT_WORKER_OPTIONS = { concurrency: 100, maxStalledCount: 2 ** 31 - 1 };
/** BullMQ's own default. */
const LOCK_MS = 30_000;
/** Failed tasks are kept to be looked at, some of them; tasks that are done leave nothing behind. */
const DEFAULT_JOB_OPTIONS = { removeOnComplete: true, removeOnFail: { count: 1_000 } };

/** @throws TaskConfigError for an option that is missing or out of range. */
export function engineSettings(options: BullmqEngineOptions): BullmqEngineSettings {
  checkKeys("bullmqEngine()", withoutSiblings(options), KEYS);
  const { Queue, Worker, connection, queue = "otel-taskflow", concurrency, maxLost, prefix } = options;
  const { queueOptions = {}, workerOptions = {} } = options;
  checkFunction("Queue", Queue);
  checkFunction("Worker", Worker);
  checkObject("queueOptions", queueOptions);
  checkObject("workerOptions", workerOptions);
  const shared = { connection: checkConnection(connection), ...prefixOf(prefix) };
  const { maxStartedAttempts, ...others } = workerOptions as { maxStartedAttempts?: unknown };
  const { defaultJobOptions } = queueOptions as { defaultJobOptions?: object | undefined };
  return Object.freeze({
    Queue,
    Worker,
    queue: checkQueueName(queue),
    queueOptions: {
      ...queueOptions,
      ...shared,
      defaultJobOptions: { ...DEFAULT_JOB_OPTIONS, ...defaultJobOptions },
    },
    workerOptions: { ...DEFAULT_WORKER_OPTIONS, ...others, ...shared, ...concurrencyOf(concurrency) },
    lockDuration: lockDurationOf(workerOptions),
    maxLost: checkOptional("maxLost", maxLost, { min: 1, integer: true }),
    mostAttempts: mostAttemptsOf(maxStartedAttempts),
  });
}

// The object that `withBackend` returns may be given as it is, and holds more classes than are used.
function withoutSiblings(options: BullmqEngineOptions): object {
  if (typeof options !== "object" || options === null) return options;
  return Object.fromEntries(Object.entries(options).filter(([key, one]) => KEYS.has(key) || typeof one !== "function"));
}

function checkConnection(connection: unknown): object | string {
  if (typeof connection === "object" && connection !== null) {
    if (!hasKeyPrefix(connection)) return connection;
    // BullMQ's own words, which it has for clients only
    throw new TaskConfigError("connection: ioredis does not support ioredis prefixes, use the prefix option instead");
  }
  if (typeof connection === "string" && connection !== "") return connection;
  throw new TaskConfigError(
    `connection: expected what BullMQ takes, such as { host: "127.0.0.1", port: 6379 }, received ${show(connection)}`,
  );
}

// The options of a connection, of a client, or of the nodes of a cluster may have one.
function hasKeyPrefix(connection: object): boolean {
  const { keyPrefix, options, redisOptions } = connection as Record<string, unknown>;
  if (typeof keyPrefix === "string" && keyPrefix !== "") return true;
  return [options, redisOptions].some(
    (nested) => typeof nested === "object" && nested !== null && hasKeyPrefix(nested),
  );
}

// BullMQ checks it, or makes of it what it likes.
function lockDurationOf({ lockDuration }: { lockDuration?: unknown }): number {
  return typeof lockDuration === "number" && lockDuration > 0 ? Math.min(lockDuration, MAX_TIMER_MS) : LOCK_MS;
}

// BullMQ's own name for no limit is 0.
function mostAttemptsOf(maxStartedAttempts: unknown): number {
  const most = checkOptional("workerOptions.maxStartedAttempts", maxStartedAttempts, { min: 0, integer: true });
  return most || Number.POSITIVE_INFINITY;
}

function checkQueueName(queue: unknown): string {
  const name = checkText("queue", queue);
  if (!name.includes(":")) return name;
  throw new TaskConfigError(`queue: expected a name without a colon, received ${show(name)}`);
}

function concurrencyOf(concurrency: unknown): { readonly concurrency?: number } {
  if (concurrency === undefined) return {};
  return { concurrency: checkNumber("concurrency", concurrency, { min: 1, integer: true }) };
}

function prefixOf(prefix: unknown): { readonly prefix?: string } {
  return prefix === undefined ? {} : { prefix: checkText("prefix", prefix) };
}
