import Fastify, { type FastifyInstance } from "fastify";

interface UserRoute {
  Params: { userId: string };
}

/** The second service. Its invoices are down for the first two calls, and user 13 has no mailbox. */
export function createAccountsService(): FastifyInstance {
  const service = Fastify();
  let outage = 2;
  service.get<UserRoute>("/users/:userId/orders", async () => ({ total: 1_250 }));
  service.get<UserRoute>("/users/:userId/invoices", async (_request, reply) => {
    if (outage === 0) return { total: 980 };
    outage -= 1;
    return reply.code(503).send({ message: "down for maintenance" });
  });
  service.post<UserRoute>("/users/:userId/emails", async ({ params }, reply) => {
    if (params.userId !== "13") return reply.code(202).send({ message: "accepted" });
    return reply.code(422).send({ message: "no such mailbox" });
  });
  return service;
}
