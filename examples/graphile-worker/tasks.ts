import { userInfo } from "node:os";
import { makeWorkerUtils, run } from "graphile-worker";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";
import { graphileEngine } from "otel-taskflow/graphile-worker";

// What producer and worker have in common. graphile-worker makes its tables by itself, in a schema of its own.
const connectionString = process.env.DATABASE_URL ?? `postgres://${userInfo().username}@127.0.0.1:5432/test`;

export const tasks = new TaskManager({ engine: graphileEngine({ run, makeWorkerUtils, connectionString }) });

export const chargeCard = tasks.task({ name: "chargeCard", retries: 2, delay: 500 }, async (order: number) => {
  taskLog("Charging", { order });
  if (getTaskContext()?.attempt === 0) throw new Error("the bank is busy");
  taskLog("Charged", { currency: getTaskContext()?.tags.currency });
  await tasks.addTask(sendReceipt, [order]);
});

export const sendReceipt = tasks.task("sendReceipt", async (order: number) => {
  taskLog("Sent", { order });
});
