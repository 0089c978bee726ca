// A queue of no-op tasks on each library: as its own users would use it, and through this package's engine.
import { userInfo } from "node:os";
import { Queue, Worker } from "bullmq";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { type TaskEngine, TaskManager } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { graphileEngine } from "otel-taskflow/graphile-worker";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { type ConstructorOptions, PgBoss, type WorkOptions } from "pg-boss";

export type Noop = () => Promise<void>;

/** A way to add tasks and to run them. Several processes may open the same one. */
export interface Way {
  /** Adds one task. */
  add(): Promise<unknown>;
  /** Adds many, as quickly as it can be done. */
  fill(count: number): Promise<unknown>;
  /** Calls `noop` for each task; resolves to what stops that. */
  work(noop: Noop): Promise<() => Promise<unknown>>;
  /** Removes what is stored of tasks. */
  empty(): Promise<unknown>;
  /** Removes everything, where nobody works any more. */
  remove(): Promise<unknown>;
}

/** `store` names what is made for it, and goes with it: a prefix of keys, or a schema. */
export type OpenWay = (store: string) => Promise<Way>;

export type Library = "bullmq" | "pg-boss" | "graphile-worker";
export type SideName = "ours" | "peer";

const QUEUE = "noop";
/** A queue, and the tasks that a process runs at once: of graphile-worker 5, since each has a connection. */
const SETTINGS = {
  bullmq: { queue: QUEUE, concurrency: 50 },
  "pg-boss": { queue: QUEUE, concurrency: 50 },
  "graphile-worker": { concurrency: 5 },
} as const;
const NO_DATA = {};
const POSTGRES = process.env.DATABASE_URL ?? `postgres://${userInfo().username}@127.0.0.1:5432/test`;
// graphile-worker would write a line for each job; the engine writes none either
const SILENT = new Logger(() => () => {});

/**
 * How pg-boss itself drains a backlog fastest: as many jobs a fetch as may run at once, in one call of the handler, the
 * next batch without a pause, and one statement that completes the batch. Its defaults are one job each two seconds.
 */
const FASTEST: WorkOptions = {
  ...{ batchSize: SETTINGS["pg-boss"].concurrency, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 },
};

export const WAYS: Record<Library, Record<SideName, OpenWay>> = {
  bullmq: { ours: managerOnBullmq, peer: bullmq },
  "pg-boss": { ours: managerOnPgBoss, peer: pgBoss },
  "graphile-worker": { ours: managerOnGraphile, peer: graphileWorker },
};

// A manager for adding, and one for each time that tasks are worked on.
function throughManager(engine: () => TaskEngine): Pick<Way, "add" | "fill" | "work"> {
  const noop: Noop = async () => {};
  const producer = new TaskManager({ engine: engine() });
  producer.task(QUEUE, noop);
  return {
    add: () => producer.addTask(noop),
    fill: (count) => Promise.all(Array.from({ length: count }, () => producer.addTask(noop))),
    async work(counted) {
      const manager = new TaskManager({ engine: engine() });
      manager.task(QUEUE, counted);
      await manager.work();
      return () => manager.shutdown();
    },
  };
}

async function managerOnBullmq(prefix: string): Promise<Way> {
  const { empty, remove } = await bullmq(prefix);
  const engine = (): TaskEngine =>
    bullmqEngine({ ...SETTINGS.bullmq, Queue, Worker, connection: connection(), prefix });
  return { ...throughManager(engine), empty, remove };
}

// Jobs that are done are removed, as the engine does.
async function bullmq(prefix: string): Promise<Way> {
  const queue = new Queue(QUEUE, { connection: connection(), prefix, defaultJobOptions: { removeOnComplete: true } });
  return {
    add: () => queue.add(QUEUE, NO_DATA),
    fill: (count) => queue.addBulk(Array.from({ length: count }, () => ({ name: QUEUE, data: NO_DATA }))),
    async work(noop) {
      const { concurrency } = SETTINGS.bullmq;
      const worker = new Worker(QUEUE, noop, { connection: connection(), prefix, concurrency });
      await worker.waitUntilReady();
      return () => worker.close();
    },
    empty: () => queue.drain(),
    async remove() {
      await queue.obliterate({ force: true });
      await queue.close();
    },
  };
}

async function managerOnPgBoss(schema: string): Promise<Way> {
  const { boss, empty, remove } = await bossOn(schema);
  return { ...managerOn(boss), empty, remove };
}

async function pgBoss(schema: string): Promise<Way> {
  const { boss, empty, remove } = await bossOn(schema);
  return { ...(await jobsOf(boss)), empty, remove };
}

/** The engine on an instance that has started. */
export function managerOn(boss: PgBoss): Pick<Way, "add" | "fill" | "work"> {
  return throughManager(() => pgBossEngine({ ...SETTINGS["pg-boss"], boss, shared: true }));
}

/** The jobs of an instance that has started, in a queue with pg-boss's defaults. */
export async function jobsOf(boss: PgBoss): Promise<Pick<Way, "add" | "fill" | "work">> {
  await boss.createQueue(QUEUE);
  return {
    add: () => boss.send(QUEUE, NO_DATA),
    fill: (count) =>
      boss.insert(
        QUEUE,
        Array.from({ length: count }, () => ({ data: NO_DATA })),
      ),
    async work(noop) {
      await boss.work(QUEUE, FASTEST, async (batch) => {
        await Promise.all(batch.map(noop));
      });
      return () => boss.offWork(QUEUE);
    },
  };
}

async function bossOn(schema: string): Promise<Pick<Way, "empty" | "remove"> & { boss: PgBoss }> {
  const boss = new PgBoss(optionsOf(schema));
  await boss.start();
  return {
    boss,
    empty: () => boss.deleteAllJobs(),
    async remove() {
      await boss.getDb().executeSql(`DROP SCHEMA ${schema} CASCADE`);
      await boss.stop({ graceful: false });
    },
  };
}

async function managerOnGraphile(schema: string): Promise<Way> {
  const { empty, remove } = await graphileWorker(schema);
  const options = { ...SETTINGS["graphile-worker"], connectionString: POSTGRES, schema };
  return { ...throughManager(() => graphileEngine({ run, makeWorkerUtils, ...options })), empty, remove };
}

async function graphileWorker(schema: string): Promise<Way> {
  const options = { connectionString: POSTGRES, schema, logger: SILENT };
  const utils = await makeWorkerUtils(options);
  const query = (sql: string): Promise<unknown> => utils.withPgClient((client) => client.query(sql));
  return {
    add: () => utils.addJob(QUEUE, NO_DATA),
    fill: (count) => utils.addJobs(Array.from({ length: count }, () => ({ identifier: QUEUE, payload: NO_DATA }))),
    async work(noop) {
      const tasks = { noHandleSignals: true, taskList: { [QUEUE]: noop } };
      const runner = await run({ ...options, ...SETTINGS["graphile-worker"], ...tasks });
      return () => runner.stop();
    },
    empty: () => query(`TRUNCATE ${schema}._private_jobs`),
    async remove() {
      await query(`DROP SCHEMA ${schema} CASCADE`);
      await utils.release();
    },
  };
}

function optionsOf(schema: string): ConstructorOptions {
  return { connectionString: POSTGRES, schema, supervise: false, schedule: false };
}

function connection(): { host: string; port: number } {
  const { hostname: host, port } = new URL(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
  return { host, port: Number(port || 6379) };
}
