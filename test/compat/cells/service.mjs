// A plain service under one vendor's OpenTelemetry, which was loaded by --import. Its parent makes the requests, tells it to stop,
// and is then told what the tasks saw.
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { context, propagation, trace } from "@opentelemetry/api";
import * as bullmq from "bullmq";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";
import { bullmqEngine, withTasks } from "otel-taskflow/bullmq";

const ATTEMPT = 50;
const queue = `compat-${process.env.CELL}-${process.pid}`;
const connection = { host: "127.0.0.1", port: 6379, maxRetriesPerRequest: null };

const seen = [];
const troubles = [];
process.on("unhandledRejection", (reason) => troubles.push(`unhandled rejection: ${reason?.stack ?? reason}`));
process.on("warning", (warning) => troubles.push(`${warning.name}: ${warning.message}`));

const { flush, options } = await import(process.env.SETUP);
const managers = {
  memory: new TaskManager(options),
  bullmq: new TaskManager({
    ...options,
    engine: bullmqEngine({ Queue: bullmq.Queue, Worker: bullmq.Worker, connection, queue }),
  }),
  adopted: adoptedQueue(`${queue}-adopted`),
};
const running = Object.entries(managers).map(([engine, tasks]) => ({ engine, tasks, ...define(engine, tasks) }));
await managers.bullmq.work();

const server = createServer(async ({ url }, response) => {
  const { tasks, charge, look } = running.find(({ engine }) => url === `/${engine}`) ?? running[0];
  const charged = await tasks.addTask(charge, ["o-1"], { tags: { plan: "pro" } });
  const labels = ["a", "b", "c"];
  const looked = await Promise.all(labels.map((label) => tasks.addTask(look, [label], { tags: { label } })));
  const leaked = propagation.getBaggage(context.active())?.getAllEntries() ?? [];
  response.end(JSON.stringify({ charged, looked, inTask: getTaskContext() !== undefined, leaked }));
});
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));

process.once("message", async () => {
  for (const { tasks } of running) await tasks.idle();
  for (const { tasks } of running) await tasks.shutdown();
  server.close();
  server.closeAllConnections();
  const cleaner = new bullmq.Queue(queue, { connection });
  await cleaner.obliterate({ force: true });
  await cleaner.close();
  const held = await flush();
  const { metadata } = managers.adopted;
  process.send({ seen, troubles, held, metadata, api: import.meta.resolve("@opentelemetry/api") }, () =>
    process.exit(0),
  );
});

/** A queue and a worker that know nothing of tasks, in the form of a manager. */
function adoptedQueue(name) {
  const handlers = new Map();
  const { Queue, Worker } = withTasks(bullmq, { ...options, tags: ({ data }) => data.tags });
  const jobs = new Queue(name, { connection });
  const worker = new Worker(name, (job) => handlers.get(job.name)(job.data.argument), { connection, concurrency: 10 });
  const manager = {
    metadata: [],
    task({ name, retries = 0, delay = 0 }, fn) {
      handlers.set(name, fn);
      return { name, retry: { attempts: retries + 1, backoff: delay } };
    },
    async addTask({ name, retry }, [argument], { tags }) {
      return (await jobs.add(name, { argument, tags }, retry)).id;
    },
    async idle() {
      while ((await jobs.getJobCountByTypes("wait", "active", "delayed")) > 0) await sleep(20);
    },
    async shutdown() {
      // what the vendor's own instrumentation of BullMQ stored with each job
      manager.metadata.push(...(await jobs.getCompleted()).map(({ opts }) => opts.telemetry?.metadata ?? ""));
      await worker.close();
      await jobs.obliterate({ force: true });
      await jobs.close();
    },
  };
  return manager;
}

/** One task that fails once, and one that only looks around. */
function define(engine, tasks) {
  const charge = tasks.task({ name: `charge-${engine}`, retries: 1, delay: 20 }, async (order) => {
    note(engine, "function", order);
    await sleep(ATTEMPT);
    await helper(engine, order);
    taskLog("Charging", { order });
    await fetch(`${process.env.CALLED}/${engine}`);
    if (getTaskContext()?.attempt === 0) throw new TypeError("declined");
  });
  const look = tasks.task({ name: `look-${engine}` }, async (label) => {
    await Promise.all([sleep(5), new Promise((resolve) => setImmediate(resolve))]);
    note(engine, "function", label);
    await helper(engine, label);
  });
  return { charge, look };
}

async function helper(engine, argument) {
  await sleep(1);
  note(engine, "helper", argument);
}

function note(engine, where, argument) {
  const { taskId, funcName, attempt, tags } = getTaskContext() ?? {};
  const baggage = propagation.getBaggage(context.active())?.getAllEntries() ?? [];
  const span = trace.getActiveSpan()?.spanContext();
  const carried = Object.fromEntries(baggage.map(([key, { value }]) => [key, value]));
  seen.push({ engine, where, argument, taskId, funcName, attempt, tags, carried, ...pick(span) });
}

function pick({ traceId, spanId } = {}) {
  return { traceId, spanId };
}
