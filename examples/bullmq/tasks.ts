import { Queue, Worker } from "bullmq";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";

// What producer and worker have in common.
const connection = { url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" };

export const tasks = new TaskManager({ engine: bullmqEngine({ Queue, Worker, connection, queue: "examples" }) });

export const sendEmail = tasks.task({ name: "sendEmail", retries: 2, delay: 500 }, async (address: string) => {
  taskLog("Sending", { address });
  if (getTaskContext()?.attempt === 0) throw new Error("the mail server is down");
  taskLog("Sent", { plan: getTaskContext()?.tags.plan });
});
