// A service as it was before anybody thought of tasks: of this folder, otel.ts alone knows this library.
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Worker } from "bullmq";
import express from "express";
import { makeWorkerUtils, type Runner, run, type WorkerUtils } from "graphile-worker";
import { type Invoices, startInvoices } from "./invoices.js";
import { log } from "./log.js";
import { sendMail } from "./mail.js";
import { bullmq, flows, mail, webhooks } from "./queues.js";
import type { Statements } from "./statements.js";
import { callWebhook } from "./webhooks.js";

const DAY_MS = 86_400_000;
const file = (name: string): string => join(process.cwd(), name);

async function start(): Promise<void> {
  const workers = [
    new Worker("mail", sendMail, bullmq),
    new Worker("webhooks", callWebhook, { ...bullmq, limiter: { max: 2, duration: 100 } }),
    new Worker("render", file("render.js"), bullmq),
  ];
  for (const worker of workers) worker.on("failed", (job, error) => log.warn({ job: job?.name }, error.message));
  await mail.upsertJobScheduler("digest", { every: DAY_MS }, { name: "digest", data: { list: "all" } });
  const { DATABASE_URL: connectionString = "", PG_BOSS } = process.env;
  // pg-boss is an ES module, which not every service can load
  const statements =
    PG_BOSS === undefined ? undefined : await (await import("./statements.js")).startStatements(connectionString);
  const invoices = await startInvoices();
  const graphile = { connectionString, noHandleSignals: true, pollInterval: 100 };
  const utils = await makeWorkerUtils(graphile);
  const runner = await run({ ...graphile, taskDirectory: file("tasks"), crontabFile: file("crontab") });
  const server = serve(utils, invoices, statements);
  process.once("SIGTERM", async () => {
    server.close();
    await statements?.stop();
    await invoices.stop();
    await stop(runner, utils, workers);
  });
}

function serve(
  utils: WorkerUtils,
  invoices: Invoices,
  statements: Statements | undefined,
): ReturnType<express.Express["listen"]> {
  const app = express().use(express.json());
  app.post("/orders", async (request, response) => {
    const { order } = request.body;
    const retried = { attempts: 3, backoff: { type: "fixed", delay: 20 } };
    await mail.add("receipt", { order }, { jobId: `receipt-${order}`, ...retried });
    await webhooks.addBulk(["created", "paid", "shipped"].map((name) => ({ name, data: { order } })));
    await flows.add({
      ...{ name: "album", queueName: "mail", data: { order }, opts: { jobId: `album-${order}` } },
      children: [1, 2].map((page) => ({
        name: `page`,
        queueName: "render",
        data: { page },
        opts: { jobId: `page-${page}` },
      })),
    });
    await utils.addJob("resize", { order }, { maxAttempts: 2 });
    await invoices.make(order);
    await statements?.make(order);
    response.status(202).json({ order });
  });
  const server = app.listen(0, "127.0.0.1", () => {
    log.info({ port: (server.address() as AddressInfo).port }, "listening");
  });
  return server;
}

async function stop(runner: Runner, utils: WorkerUtils, workers: readonly Worker[]): Promise<void> {
  await runner.stop();
  await utils.release();
  await Promise.all(workers.map((worker) => worker.close()));
  await Promise.all([mail.close(), webhooks.close(), flows.close()]);
}

void start();
