// Wraps and adds by hand with another copy of the library than the one whose instrumentation serves the class.
import { createRequire } from "node:module";
import { getTaskContext } from "otel-taskflow";
import { PgBoss } from "pg-boss";
import { run } from "./copies.mjs";

const other = createRequire(import.meta.url);
const { TaskManager } = other("otel-taskflow");
const { carrierOf, inTask, pgBossEngine, sendJob, workTask } = other("otel-taskflow/pg-boss");

const connectionString = process.env.DATABASE_URL;
const options = { pollingIntervalSeconds: 0.5 };

await run(async (see) => {
  const boss = new PgBoss({ connectionString, schedule: false });
  await boss.start();
  for (const queue of ["job", "batch", "pulled"]) await boss.createQueue(queue);
  const look = (job) => ({ same: getTaskContext()?.taskId === job.id, carried: carrierOf(job) !== undefined });
  await workTask(boss, "job", options, (job) => see(look(job)));
  await sendJob(boss, "job", {}, { tags: { plan: "pro" } });
  await boss.insert("batch", [{ data: {} }, { data: {} }]);
  await boss.work("batch", { ...options, batchSize: 2 }, async (jobs) => {
    for (const job of jobs) see(inTask(job, () => look(job)));
  });
  await boss.send("pulled", {});
  const [job] = await boss.fetch("pulled");
  await boss.complete("pulled", job.id);
  see({ same: getTaskContext() === undefined, carried: carrierOf(job) !== undefined });
  return {
    tasks: new TaskManager({ engine: pgBossEngine({ boss: new PgBoss({ connectionString, schedule: false }) }) }),
    stop: () => boss.stop(),
  };
});
