import { userInfo } from "node:os";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { PgBoss } from "pg-boss";

// What producer and worker have in common. pg-boss makes its tables by itself, in a schema of its own.
const url = process.env.DATABASE_URL ?? `postgres://${userInfo().username}@127.0.0.1:5432/test`;
const boss = new PgBoss({ connectionString: url, openTelemetry: { enabled: false } });

export const tasks = new TaskManager({ engine: pgBossEngine({ boss, queue: "examples" }) });

export const sendEmail = tasks.task({ name: "sendEmail", retries: 2, delay: 500 }, async (address: string) => {
  taskLog("Sending", { address });
  if (getTaskContext()?.attempt === 0) throw new Error("the mail server is down");
  taskLog("Sent", { plan: getTaskContext()?.tags.plan });
});
