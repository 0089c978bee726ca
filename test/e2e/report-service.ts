import Fastify from "fastify";
import { getTaskContext, TaskManager, type TaskRelation, taskLog } from "otel-taskflow";
import { serve } from "./serve.js";

interface ReportRequest {
  Params: { relation: TaskRelation };
  Body: { accountsUrl: string };
}

// Fastify's logger is pino.
const service = Fastify({ logger: true });
const tasks = new TaskManager({ logs: "both", baggage: { id: process.env.SHOWS_CALLER === "1" } });
const reports = { parent: report("parent"), link: report("link"), none: report("none") };

service.post<ReportRequest>("/reports/:relation", async ({ params, body }, reply) => {
  const taskId = await tasks.addTask(reports[params.relation], [body.accountsUrl], { tags: { plan: "pro" } });
  return reply.code(202).send({ taskId });
});

await serve(service, () => tasks.shutdown());

function report(relation: TaskRelation): (accountsUrl: string) => Promise<void> {
  return tasks.task({ name: `report.${relation}`, retries: 1, delay: 20, relation }, async (accountsUrl) => {
    taskLog("Generating report", { userId: 7 });
    service.log.info("asking for orders");
    const key = getTaskContext()?.taskId ?? "";
    const response = await fetch(`${accountsUrl}/orders`, { headers: { "idempotency-key": key } });
    await response.text();
    if (!response.ok) throw new Error(`the accounts service answered ${response.status}`);
  });
}
