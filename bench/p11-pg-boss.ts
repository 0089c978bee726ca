// The pg-boss adapter with a recording SDK, against pg-boss alone and against pg-boss's own spans. DATABASE_URL, or the
// usual port.
import { userInfo } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { propagation } from "@opentelemetry/api";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import { enqueueTask } from "otel-taskflow";
import { sendJob, withCarrier, withTasks, workTask } from "otel-taskflow/pg-boss";
import type { JobInsert, OpenTelemetryOptions, PgBoss, WorkOptions } from "pg-boss";
import * as pgBoss from "pg-boss";
import { type Measurement, type Round, timed } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

const SENDS = 300;
const SENDS_AT_ONCE = 10;
const JOBS = 500;
const QUEUE = "bench";
const DATA = { order: 7 };
const TAGGED = { tags: { plan: "pro" } };
const OFF: OpenTelemetryOptions = { enabled: false };
const ITS_OWN: OpenTelemetryOptions = { propagateContext: true };
const WORK: WorkOptions = { batchSize: 50, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
const common = { unit: "µs", judgement: "ratio", rounds: 10, warmUp: 6, pairs: 3 } as const;

type Process = () => Promise<void>;
type Work = (boss: PgBoss, process: Process) => Promise<string>;

const noop: Process = async () => {};
const waiting: Process = () => wait(5);

export const measurements: readonly Measurement[] = [
  {
    ...common,
    what: "a `sendJob` with a tag, SDK recording, against bare `boss.send`",
    target: 1.1,
    ours: () => sends(OFF, (boss) => sendJob(boss, QUEUE, DATA, TAGGED)),
    peer: () => sends(OFF, (boss) => boss.send(QUEUE, DATA)),
  },
  {
    ...common,
    what: "the same, against `boss.send` with pg-boss's own span",
    target: 1.1,
    ours: () => sends(OFF, (boss) => sendJob(boss, QUEUE, DATA, TAGGED)),
    peer: () => sends(ITS_OWN, (boss) => boss.send(QUEUE, DATA)),
  },
  {
    ...common,
    what: "a no-op job in batches of 50, a span each, SDK recording, against bare `boss.work`",
    target: 1.6,
    ours: () => jobs(ours, noop, tagged),
    peer: () => jobs(bare, noop),
  },
  {
    ...common,
    what: "the same with jobs that wait 5 ms",
    target: 1.2,
    ours: () => jobs(ours, waiting, tagged),
    peer: () => jobs(bare, waiting),
  },
  {
    ...common,
    what: "a `boss.send` of a patched class, SDK recording, against `sendJob`",
    target: 1.02,
    ours: () => sends(OFF, (boss) => boss.send(QUEUE, DATA), withTasks(pgBoss)),
    peer: () => sends(OFF, (boss) => sendJob(boss, QUEUE, DATA)),
  },
  {
    ...common,
    what: "a no-op job in batches of 50 through a patched `work`, SDK recording, against `workTask`",
    target: 1.02,
    ours: () => jobs(bare, noop, plain, withTasks(pgBoss)),
    peer: () => jobs(ours, noop, carried),
  },
];

const ours: Work = (boss, process) => workTask(boss, QUEUE, WORK, process);
const bare: Work = (boss, process) =>
  boss.work(QUEUE, WORK, async (batch) => {
    await Promise.all(batch.map(process));
  });

async function carried(options: { readonly tags?: Record<string, string> } = {}): Promise<JobInsert> {
  const task = { funcName: QUEUE, ...options };
  return await enqueueTask(task, (carrier, id) => ({ id, data: withCarrier(DATA, carrier) }));
}

async function tagged(): Promise<JobInsert> {
  return await carried(TAGGED);
}

async function plain(): Promise<JobInsert> {
  return { data: DATA };
}

async function sends(
  openTelemetry: OpenTelemetryOptions,
  send: (boss: PgBoss) => Promise<unknown>,
  library = pgBoss,
): Promise<Round> {
  const boss = await startBoss(openTelemetry, library);
  const round = timed("µs", SENDS, async () => {
    for (let sent = 0; sent < SENDS; sent += SENDS_AT_ONCE) {
      await Promise.all(Array.from({ length: SENDS_AT_ONCE }, () => send(boss)));
    }
  });
  return async () => {
    const figure = await round();
    await boss.deleteAllJobs(QUEUE);
    return figure;
  };
}

async function jobs(work: Work, process: Process, job = plain, library = pgBoss): Promise<Round> {
  const boss = await startBoss(OFF, library);
  const round = timed("µs", JOBS, async () => {
    let left = JOBS;
    await new Promise<void>((resolve) => {
      void work(boss, async () => {
        await process();
        left -= 1;
        if (left === 0) resolve();
      });
    });
    await boss.offWork(QUEUE); // the last batch is settled as well
  });
  return async () => {
    await boss.insert(QUEUE, await Promise.all(Array.from({ length: JOBS }, () => job())));
    const figure = await round();
    await boss.deleteAllJobs(QUEUE);
    return figure;
  };
}

// A schema for each side, gone when the side is.
async function startBoss(openTelemetry: OpenTelemetryOptions, library: typeof pgBoss): Promise<PgBoss> {
  startSdk();
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
  const connectionString = process.env.DATABASE_URL ?? `postgres://${userInfo().username}@127.0.0.1:5432/test`;
  const schema = `bench_${process.pid}`;
  const boss = new library.PgBoss({ connectionString, schema, openTelemetry, supervise: false, schedule: false });
  await boss.start();
  await boss.createQueue(QUEUE);
  process.once("disconnect", async () => {
    await boss.getDb().executeSql(`DROP SCHEMA ${schema} CASCADE`);
    await boss.stop({ graceful: false });
  });
  return boss;
}
