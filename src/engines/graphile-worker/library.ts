import { debug, warn } from "../../core/guard.js";

/** The value of `task.engine`, and of `messaging.system`, for which there is no convention. */
export const GRAPHILE_WORKER = "graphile-worker";

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
  addJob(identifier: string, payload: unknown, spec?: GraphileJobSpec): Promise<unknown>;
  completeJobs(ids: string[]): Promise<unknown[]>;
  permanentlyFailJobs(ids: string[], reason?: string): Promise<unknown[]>;
  forceUnlockWorkers(workerIds: string[]): Promise<void>;
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

/** The part that the engine uses as well. */
export interface EngineHelpers extends GraphileHelpers {
  /** The name of the job's queue, where it is in one. */
  getQueueName(): string | null | PromiseLike<string | null>;
}

/** A function that graphile-worker calls for each job of one identifier. */
export type GraphileTask = (payload: unknown, helpers: EngineHelpers) => Promise<void>;

/** An event of graphile-worker's, which has those of the fields that belong to its name. */
export interface GraphileEvent {
  readonly worker: { readonly workerId: string };
  readonly workerPool: { readonly id: string };
  readonly error: unknown;
}

/** The part of graphile-worker's `Logger` that it calls itself. */
export interface GraphileLogger {
  scope(): GraphileLogger;
  error(message: string, meta?: { readonly failure?: unknown }): void;
  warn(message: string): void;
  info(message: string): void;
  debug(message: string): void;
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
