import { checkFunction, checkKeys, checkNumber, checkObject, MAX_TIMER_MS, namesOf, show } from "../../core/checks.js";
import { TaskConfigError } from "../../core/errors.js";
import { diagLogger, type GraphilePool, type GraphileRunner, type GraphileUtils } from "./library.js";

/**
 * Options of `graphileEngine()`: graphile-worker's two functions, where PostgreSQL is, and what holds for this process.
 * A wrong one is a `TaskConfigError`, which never shows a connection string.
 */
export interface GraphileEngineOptions {
  /** graphile-worker's function of this name. */
  run(options: object): Promise<GraphileRunner>;
  /** graphile-worker's function of this name. */
  makeWorkerUtils(options: object): Promise<GraphileUtils>;
  /** Where PostgreSQL is; graphile-worker makes two pools of it, and closes them at shutdown. Or give a `pgPool`. */
  connectionString?: string | undefined;
  /** A pool of yours, used for everything, with room for two connections or more. Closing it is up to you. */
  pgPool?: GraphilePool | undefined;
  /** Default: graphile-worker's, `GRAPHILE_WORKER_SCHEMA` or else `graphile_worker`. */
  schema?: string | undefined;
  /** Attempts running at once in this process. Default 10. */
  concurrency?: number | undefined;
  /** Milliseconds by which a delayed task or a retry may start late; others start at once. Default 1000. */
  pollInterval?: number | undefined;
  /** More options of graphile-worker's `run` and `makeWorkerUtils`: `maxPoolSize`, `noPreparedStatements`, `preset`. */
  workerOptions?: object | undefined;
  /**
   * True where no other process works on this schema, not even while another version is deployed: `work()` then frees
   * the jobs that a killed worker left locked, which graphile-worker does after four hours. Default false.
   */
  onlyWorker?: boolean | undefined;
  /** After so many lost runs of one attempt a task gives up instead of being run again; an integer from 1. Default 10. */
  maxLost?: number | undefined;
}

const KEYS = namesOf<GraphileEngineOptions>({
  run: true,
  makeWorkerUtils: true,
  connectionString: true,
  pgPool: true,
  schema: true,
  concurrency: true,
  pollInterval: true,
  workerOptions: true,
  onlyWorker: true,
  maxLost: true,
});

/** The options of an engine, checked and complete. */
export interface EngineSettings extends Pick<GraphileEngineOptions, "run" | "makeWorkerUtils" | "pgPool"> {
  readonly schema: string;
  readonly concurrency: number;
  readonly pollInterval: number;
  readonly onlyWorker: boolean;
  readonly maxLost: number;
  /** Options for `run` and for `makeWorkerUtils` alike. */
  readonly sharedOptions: object;
}

/** @throws TaskConfigError for an option out of range. */
export function checkOptions(options: GraphileEngineOptions): EngineSettings {
  checkKeys("graphileEngine()", options, KEYS);
  const { run, makeWorkerUtils, pgPool, concurrency, pollInterval, onlyWorker = false, workerOptions = {} } = options;
  checkFunction("run", run);
  checkFunction("makeWorkerUtils", makeWorkerUtils);
  checkObject("workerOptions", workerOptions);
  if (typeof onlyWorker !== "boolean") {
    throw new TaskConfigError(`onlyWorker: expected true or false, received ${show(onlyWorker)}`);
  }
  const schema = schemaOf(options.schema);
  return Object.freeze({
    ...{ run, makeWorkerUtils, pgPool, schema, onlyWorker },
    concurrency: checkNumber("concurrency", concurrency ?? 10, { min: 1, integer: true }),
    pollInterval: checkNumber("pollInterval", pollInterval ?? 1_000, { min: 1, max: MAX_TIMER_MS }),
    maxLost: checkNumber("maxLost", options.maxLost ?? 10, { min: 1, integer: true }),
    sharedOptions: { ...workerOptions, schema, ...connectionOf(options), logger: diagLogger },
  });
}

/** The schema graphile-worker would use itself. */
export function schemaOf(schema: unknown = process.env.GRAPHILE_WORKER_SCHEMA || "graphile_worker"): string {
  if (typeof schema === "string" && schema !== "") return schema;
  throw new TaskConfigError(`schema: expected a non-empty string, received ${show(schema)}`);
}

// Never shows a connection string: it holds a password.
function connectionOf({ connectionString, pgPool }: GraphileEngineOptions): Record<string, unknown> {
  if ((connectionString === undefined) === (pgPool === undefined)) {
    const received = pgPool === undefined ? "neither" : "both";
    throw new TaskConfigError(`connectionString, pgPool: expected one of the two, received ${received}`);
  }
  if (pgPool !== undefined) {
    for (const method of ["connect", "on", "off"] as const) checkFunction(`pgPool.${method}`, pgPool?.[method]);
    return { pgPool };
  }
  if (typeof connectionString !== "string" || connectionString === "") {
    throw new TaskConfigError(`connectionString: expected a non-empty string, received ${show(connectionString)}`);
  }
  return { connectionString };
}
