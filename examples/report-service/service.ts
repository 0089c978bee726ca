import Fastify, { type FastifyInstance } from "fastify";
import { generateReport, sendEmail, tasks } from "./tasks.js";

interface ReportRequest {
  userId: number;
  plan: string;
}

const body = {
  type: "object",
  required: ["userId", "plan"],
  properties: { userId: { type: "integer" }, plan: { enum: ["free", "enterprise"] } },
};

/** The HTTP API: accepts a request for a report and answers before the work is done. */
export function createReportService(): FastifyInstance {
  const service = Fastify();
  service.post<{ Body: ReportRequest }>("/report", { schema: { body } }, async (request, reply) => {
    const { userId, plan } = request.body;
    const tags = { plan, source: "api" };
    const report = await tasks.addTask(generateReport, [userId], { tags });
    const email = await tasks.addTask(sendEmail, [userId, "Your report is on its way"], { tags });
    return reply.code(202).send({ report, email });
  });
  return service;
}
