// Runs jobs in a sandbox, which THREADS has be a thread and BARE a process without the set-up of OpenTelemetry, and prints
// what came of each.
import { fileURLToPath } from "node:url";
import { Queue, QueueEvents, Worker } from "bullmq";

const connection = JSON.parse(process.env.CONNECTION);
const name = `sandboxes-${crypto.randomUUID()}`;
const queue = new Queue(name, { connection, defaultJobOptions: { attempts: 2 } });
const events = new QueueEvents(name, { connection });
await events.waitUntilReady();
const worker = new Worker(name, fileURLToPath(new URL("processor.mjs", import.meta.url)), {
  connection,
  useWorkerThreads: Boolean(process.env.THREADS),
  ...(process.env.BARE && { workerForkOptions: { execArgv: [] } }),
});
worker.on("error", () => {});
const ended = {};
for (const job of process.env.THREADS ? ["works", "gives-up"] : ["works", "gives-up", "dies"]) {
  const added = await queue.add(job, {});
  const value = await added.waitUntilFinished(events, 20_000).catch((error) => error.message);
  ended[job] = { id: added.id, value, attempts: (await queue.getJob(added.id)).attemptsMade };
}
await worker.close();
await events.close();
await queue.obliterate({ force: true });
await queue.close();
console.log(JSON.stringify({ ended, spans: globalThis.otel.spans() }));
process.exit(0);
