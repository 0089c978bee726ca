// Wraps and adds by hand with another copy of the library than the one whose instrumentation serves the classes.
import { createRequire } from "node:module";
import { Queue, Worker } from "bullmq";
import { getTaskContext } from "otel-taskflow";
import { run } from "./copies.mjs";

const other = createRequire(import.meta.url);
const { TaskManager } = other("otel-taskflow");
const { addJob, bullmqEngine, carrierOf, withTask } = other("otel-taskflow/bullmq");

const connection = JSON.parse(process.env.CONNECTION);
const name = `copies-${crypto.randomUUID()}`;

await run(async (see) => {
  const queue = new Queue(name, { connection });
  const handle = (job) => see({ same: getTaskContext()?.taskId === job.id, carried: carrierOf(job) !== undefined });
  const worker = new Worker(name, withTask(handle), { connection });
  const engine = bullmqEngine({ Queue, Worker, connection, queue: `${name}-engine` });
  await addJob(queue, "job", {}, { tags: { plan: "pro" } });
  return {
    tasks: new TaskManager({ engine }),
    stop: async () => {
      await worker.close();
      await queue.obliterate({ force: true });
      await queue.close();
    },
  };
});
