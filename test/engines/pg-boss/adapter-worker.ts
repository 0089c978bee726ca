// Starts a worker of the adapter that says when a job runs, and never ends one.
import { workTask } from "otel-taskflow/pg-boss";
import { PgBoss } from "pg-boss";

const [connectionString = "", schema = "", queue = ""] = process.argv.slice(2);
const boss = new PgBoss({ connectionString, schema, max: 2, supervise: false });
await boss.start();
await workTask(boss, queue, { pollingIntervalSeconds: 0.5 }, ({ id }) => {
  console.log(id);
  return new Promise(() => {});
});
