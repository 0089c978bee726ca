import * as byHand from "otel-taskflow/graphile-worker";
import { afterAll, describe } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { createDatabase, dropDatabase, queryOnce } from "./database.js";
import { GRAPHILE, VERSIONS, type Version } from "./versions.js";
import { openWorkerOn, type TestWorker } from "./worker.js";

/**
 * The ways by which jobs become tasks: calls of the adapter, or a patched module whose functions are called as ever. A
 * case that is given these functions of a road, under the adapter's names, holds for both.
 */
export interface Road {
  /** Patched it is `utils.addJob`, and tags and relation are what the options of `withTasks` answer for the job. */
  readonly addJob: typeof byHand.addJob;
  /** Patched it is `utils.addJobs`. */
  readonly addJobs: typeof byHand.addJobs;
  /** Patched it leaves the task as it is. */
  readonly withTask: typeof byHand.withTask;
  /** Opens a worker for the running test. */
  open(schema?: string): Promise<TestWorker>;
  /** Opens one that is not patched. */
  openBare(): Promise<TestWorker>;
}

type Wishes = Pick<byHand.GraphileJobOptions, "tags" | "relation">;
type Call = (...args: unknown[]) => unknown;

/** A job as it is added. */
interface Added extends Wishes {
  readonly identifier: string;
  readonly payload: unknown;
}

const { addJob, addJobs, withTask } = byHand;

// each of them takes what its namesake takes, of which it passes on all but the wishes
const PATCHED = {
  addJob: (utils: { addJob: Call }, identifier: string, payload: unknown, spec: Wishes = {}) =>
    adding([{ identifier, payload, ...spec }], () => utils.addJob(identifier, payload, withoutWishes(spec))),
  addJobs: (utils: { addJobs: Call }, specs: readonly Added[], ...rest: unknown[]) =>
    adding(specs, () => utils.addJobs(specs.map(withoutWishes), ...rest)),
  withTask: (task: unknown) => task,
} as unknown as Omit<Road, "open" | "openBare">;

/** What is being added, for the options of `withTasks` to know it again. */
let jobs: readonly Added[] = [];

/** The same cases with every version of graphile-worker, by hand and patched. */
export async function describeRoads(what: string, cases: (road: Road, version: Version) => void): Promise<void> {
  const { url: server, unavailable } = await postgresUrl();
  if (server === undefined) {
    describeUnavailable(what, unavailable);
    return;
  }
  for (const version of VERSIONS) {
    describe(`${what} with graphile-worker ${version}`, () => {
      const databaseFor = emptyDatabases(server);
      const openBare: Road["open"] = async (schema) => openWorkerOn(await databaseFor(schema), version, schema);
      describe("by hand", () => cases({ addJob, addJobs, withTask, open: openBare, openBare }, version));
      const patched = byHand.withTasks(GRAPHILE[version], OPTIONS);
      const open: Road["open"] = async (schema) => openWorkerOn(await databaseFor(schema), version, schema, patched);
      describe("patched", () => cases({ ...PATCHED, open, openBare }, version));
    });
  }
}

/**
 * Databases for the tests of the suite that is being described: to make one takes longer than most tests, so each has no
 * jobs and serves the next test too.
 */
function emptyDatabases(server: string): (schema?: string) => Promise<string> {
  const used = new Map<string, string>();
  afterAll(async () => {
    for (const url of used.values()) await dropDatabase(server, url);
  });
  return async (schema = "graphile_worker") => {
    const known = used.get(schema);
    if (known === undefined) {
      const url = await createDatabase(server);
      used.set(schema, url);
      return url;
    }
    const tables = ["jobs", "job_queues", "known_crontabs"].map((table) => `${schema}._private_${table}`);
    for (const table of tables) await queryOnce(known, `delete from ${table}`);
    return known;
  };
}

const wishesOf = (job: { name: string; data: unknown }): Wishes | undefined =>
  jobs.find(({ identifier, payload }) => identifier === job.name && payload === job.data);
const OPTIONS: NonNullable<Parameters<typeof byHand.withTasks>[1]> = {
  tags: (job) => wishesOf(job)?.tags,
  relation: (job) => wishesOf(job)?.relation,
};

async function adding(added: readonly Added[], add: () => unknown): Promise<unknown> {
  jobs = added;
  try {
    // the options are asked within the call
    const adding = add();
    jobs = [];
    return await adding;
  } finally {
    jobs = [];
  }
}

function withoutWishes<S extends Wishes>({ tags: _tags, relation: _relation, ...spec }: S): object {
  return spec;
}
