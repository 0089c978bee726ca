// A plain service under one vendor's OpenTelemetry, which was loaded by --import. Its parent makes the requests, tells it to stop,
// and is then told what the tasks saw.
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { context, propagation, trace } from "@opentelemetry/api";
import * as bullmq from "bullmq";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";

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
  process.send({ seen, troubles, held, api: import.meta.resolve("@opentelemetry/api") }, () => process.exit(0));
});

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
