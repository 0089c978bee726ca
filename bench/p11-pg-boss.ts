// The pg-boss adapter with a recording SDK, against pg-boss alone on the same server. DATABASE_URL, or the usual port.
import { userInfo } from "node:os";
import { enqueueTask } from "otel-taskflow";
import { sendJob, withCarrier, workTask } from "otel-taskflow/pg-boss";
import { type JobInsert, type OpenTelemetryOptions, PgBoss, type WorkOptions } from "pg-boss";
import { type Measurement, type Round, timed } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

const SENDS = 300;
const JOBS = 500;
const QUEUE = "bench";
const OFF: OpenTelemetryOptions = { enabled: false };
const WORK: WorkOptions = { batchSize: 50, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
const common = { unit: "µs", judgement: "ratio", rounds: 8, warmUp: 2, pairs: 2 } as const;

type Work = (boss: PgBoss, ended: () => void) => Promise<string>;

export const measurements: readonly Measurement[] = [
  {
    ...common,
    what: "a `sendJob` with a tag, SDK recording, against bare `boss.send`",
    target: 1.2,
    ours: () => sends(OFF, (boss) => sendJob(boss, QUEUE, { order: 7 }, { tags: { plan: "pro" } })),
    peer: () => sends(OFF, (boss) => boss.send(QUEUE, { order: 7 })),
  },
  {
    ...common,
    what: "a no-op job through `workTask`, batches of 50, SDK recording, against bare `boss.work`",
    target: 1.5,
    ours: () => jobs(OFF, carried, ours),
    peer: () => jobs(OFF, async () => ({ data: { order: 7 } }), bare),
  },
];

const ours: Work = (boss, ended) => workTask(boss, QUEUE, WORK, ended);
const bare: Work = (boss, ended) =>
  boss.work(QUEUE, WORK, async (batch) => {
    for (const _job of batch) ended();
  });

async function carried(): Promise<JobInsert> {
  const task = { funcName: QUEUE, tags: { plan: "pro" } };
  return await enqueueTask(task, (carrier, id) => ({ id, data: withCarrier({ order: 7 }, carrier) }));
}

async function sends(openTelemetry: OpenTelemetryOptions, send: (boss: PgBoss) => Promise<unknown>): Promise<Round> {
  const boss = await startBoss(openTelemetry);
  const round = timed("µs", SENDS, async () => {
    for (let sent = 0; sent < SENDS; sent += 10) await Promise.all(Array.from({ length: 10 }, () => send(boss)));
  });
  return async () => {
    const figure = await round();
    await boss.deleteAllJobs(QUEUE);
    return figure;
  };
}

async function jobs(openTelemetry: OpenTelemetryOptions, job: () => Promise<JobInsert>, work: Work): Promise<Round> {
  const boss = await startBoss(openTelemetry);
  const round = timed("µs", JOBS, async () => {
    let left = JOBS;
    await new Promise<void>((resolve) => {
      void work(boss, () => {
        left -= 1;
        if (left === 0) resolve();
      });
    });
    await boss.offWork(QUEUE); // the last batch is settled as well
  });
  return async () => {
    await boss.insert(QUEUE, await Promise.all(Array.from({ length: JOBS }, job)));
    const figure = await round();
    await boss.deleteAllJobs(QUEUE);
    return figure;
  };
}

// A schema for each side, gone when the side is.
async function startBoss(openTelemetry: OpenTelemetryOptions): Promise<PgBoss> {
  startSdk();
  const connectionString = process.env.DATABASE_URL ?? `postgres://${userInfo().username}@127.0.0.1:5432/test`;
  const schema = `bench_${process.pid}`;
  const boss = new PgBoss({ connectionString, schema, openTelemetry, supervise: false, schedule: false });
  await boss.start();
  await boss.createQueue(QUEUE);
  process.once("disconnect", async () => {
    await boss.getDb().executeSql(`DROP SCHEMA ${schema} CASCADE`);
    await boss.stop({ graceful: false });
  });
  return boss;
}
