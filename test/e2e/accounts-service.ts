import Fastify from "fastify";
import { serve } from "./serve.js";

// The second service. It refuses the first call made with a key, and answers every other one.
const seen = new Set<unknown>();
const service = Fastify({ logger: true });

service.get("/orders", async ({ headers }, reply) => {
  service.log.info("looking up orders");
  const key = headers["idempotency-key"];
  if (seen.has(key)) return { total: 1_250 };
  seen.add(key);
  return reply.code(503).send({ message: "try again" });
});

await serve(service);
