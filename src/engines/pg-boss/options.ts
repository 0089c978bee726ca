import { checkKeys, checkNumber, checkObject, checkText, namesOf, show } from "../../core/checks.js";
import { TaskConfigError } from "../../core/errors.js";
import type { PgBossInstance } from "./library.js";

/** The options of `pgBossEngine`. One that is out of range is a `TaskConfigError` that names it. */
export interface PgBossEngineOptions {
  /** A `PgBoss` of version 12.25 or later; the engine starts it, and stops it when the manager shuts down. */
  boss: PgBossInstance;
  /** The one pg-boss queue that holds all tasks; made when it is first used. Default `"otel-taskflow"`. */
  queue?: string | undefined;
  /** Attempts running at once in this process. Default 10. */
  concurrency?: number | undefined;
  /** Seconds between two looks for tasks that are due. From 0.05; default 0.5. */
  pollingIntervalSeconds?: number | undefined;
  /** Seconds without a sign of life after which a running attempt counts as lost. From 10; default 30. */
  heartbeatSeconds?: number | undefined;
  /** Seconds an attempt may take at most; then it counts as lost, and runs again. Below a day; default 86,399. */
  expireInSeconds?: number | undefined;
  /** Runs of one attempt that may be lost with their workers; the task gives up instead of the next. From 1; default 10. */
  maxLost?: number | undefined;
  /** The instance has other users: a shutdown of the manager does not stop it. Default false. */
  shared?: boolean | undefined;
}

const KEYS = namesOf<PgBossEngineOptions>({
  boss: true,
  queue: true,
  concurrency: true,
  pollingIntervalSeconds: true,
  heartbeatSeconds: true,
  expireInSeconds: true,
  maxLost: true,
  shared: true,
});

/** Checked and complete. */
export type PgBossEngineSettings = Readonly<{
  [K in keyof PgBossEngineOptions]-?: NonNullable<PgBossEngineOptions[K]>;
}>;

/** Seconds; pg-boss takes less than a day. */
const MAX_EXPIRATION = 86_399;
const NAME = /^[\w.\-/]{1,100}$/;
const NEEDED = ["start", "fetch", "update", "touch"] as const;

/** @throws TaskConfigError for an option out of range. */
export function engineSettings(options: PgBossEngineOptions): PgBossEngineSettings {
  checkKeys("pgBossEngine()", options, KEYS);
  const { boss, queue = "otel-taskflow", concurrency = 10, maxLost = 10, shared = false } = options;
  const { pollingIntervalSeconds = 0.5, heartbeatSeconds = 30, expireInSeconds = MAX_EXPIRATION } = options;
  checkBoss(boss);
  if (!NAME.test(checkText("queue", queue))) {
    throw new TaskConfigError(`queue: expected at most 100 letters, digits or _ - . /, received ${show(queue)}`);
  }
  return Object.freeze({
    ...{ boss, queue, shared: Boolean(shared) },
    concurrency: checkNumber("concurrency", concurrency, { min: 1, integer: true }),
    pollingIntervalSeconds: checkNumber("pollingIntervalSeconds", pollingIntervalSeconds, { min: 0.05, max: 3_600 }),
    heartbeatSeconds: checkNumber("heartbeatSeconds", heartbeatSeconds, { min: 10, max: 3_600, integer: true }),
    expireInSeconds: checkNumber("expireInSeconds", expireInSeconds, { min: 1, max: MAX_EXPIRATION, integer: true }),
    maxLost: checkNumber("maxLost", maxLost, { min: 1, integer: true }),
  });
}

function checkBoss(boss: PgBossInstance): void {
  checkObject("boss", boss);
  const missing = NEEDED.find((method) => typeof boss[method] !== "function");
  if (missing === undefined) return;
  throw new TaskConfigError(`boss: expected a PgBoss of version 12.25 or later, received one without ${missing}()`);
}
