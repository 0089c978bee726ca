import { EventEmitter } from "node:events";
import { type Job, Logger, type TaskList, type WorkerUtils } from "graphile-worker";
import { onTestFinished, vi } from "vitest";
import { createDatabase, dropDatabase, queryOnce } from "./database.js";
import { GRAPHILE, type Version } from "./versions.js";

const POLL_MS = 50;
const APPEARS_WITHIN_MS = 10_000;

/** What a row of graphile-worker's view of its jobs says. */
export type JobRow = Pick<Job, "id" | "attempts" | "max_attempts" | "last_error" | "locked_at" | "key" | "run_at"> & {
  readonly locked_by: string | null;
};

/** graphile-worker as an application uses it, in a database of the running test's own. */
export interface TestWorker {
  readonly url: string;
  readonly utils: WorkerUtils;
  /** Those of a producer that does not have this library. */
  readonly elsewhere: WorkerUtils;
  /** What graphile-worker tells of its jobs. */
  readonly events: EventEmitter;
  /** Runs these tasks until the test is finished, or until the returned function has resolved. */
  run(taskList: TaskList, options?: Parameters<(typeof GRAPHILE)[Version]["run"]>[0]): Promise<() => Promise<void>>;
  jobs(): Promise<JobRow[]>;
  /** Waits until a job is gone, or waits for its next attempt, or has failed for good; returns its row. */
  ended(id: string): Promise<JobRow | undefined>;
  /** Makes a job that has failed run again now, instead of after e^n seconds. */
  runAgain(id: string): Promise<void>;
}

/** Opens a worker of this version for the running test. */
export async function openWorker(version: Version, server: string, schema = "graphile_worker"): Promise<TestWorker> {
  const url = await createDatabase(server);
  onTestFinished(() => dropDatabase(server, url));
  return await openWorkerOn(url, version, schema);
}

/** Opens a worker in a database that exists; of `module`, where that is a patched one. */
export async function openWorkerOn(
  url: string,
  version: Version,
  schema = "graphile_worker",
  module: (typeof GRAPHILE)[Version] = GRAPHILE[version],
): Promise<TestWorker> {
  const { run, makeWorkerUtils } = module;
  const shared = { connectionString: url, schema, logger: new Logger(() => () => {}) };
  const utils = await makeWorkerUtils({ ...shared });
  onTestFinished(() => utils.release());
  const bare = GRAPHILE[version].makeWorkerUtils;
  const elsewhere = makeWorkerUtils === bare ? utils : await bare({ ...shared });
  if (elsewhere !== utils) onTestFinished(() => elsewhere.release());
  const events = new EventEmitter();
  const jobs = (): Promise<JobRow[]> => queryOnce(url, `select * from ${schema}.jobs order by id`);
  const ended = async (id: string): Promise<JobRow | undefined> =>
    await vi
      .waitUntil(async () => {
        const row = (await jobs()).find((job) => job.id === id);
        const open = row !== undefined && (row.locked_at !== null || row.attempts === 0);
        return open ? false : { row };
      }, APPEARS_WITHIN_MS)
      .then(({ row }) => row);
  return {
    ...{ url, utils, elsewhere, events, jobs, ended },
    async run(taskList, options = {}) {
      const own = { taskList, events, pollInterval: POLL_MS, concurrency: 4, noHandleSignals: true, ...options };
      const runner = await run({ ...shared, ...own });
      let stopped: Promise<void> | undefined;
      const stop = (): Promise<void> => {
        stopped ??= runner.stop();
        return stopped;
      };
      onTestFinished(stop);
      return stop;
    },
    async runAgain(id) {
      await ended(id);
      await utils.rescheduleJobs([id], { runAt: new Date(0) });
    },
  };
}
