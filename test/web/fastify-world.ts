import { Readable } from "node:stream";
import Fastify from "fastify";
import { taskflow } from "otel-taskflow/fastify";
import type { WebWorld } from "./world.js";

export const fastifyWorld: WebWorld = {
  title: "fastify 5",
  tellsThrown: true,
  httpError: (statusCode) => Object.assign(new Error("refused"), { statusCode }),
  async serve(manager, handlers) {
    const app = Fastify();
    await app.register(taskflow, { tasks: manager });
    for (const [path, handle] of Object.entries(handlers)) {
      app.get(path, async (request, reply) => {
        const { status = 200, body } = await handle(request.tasks);
        return reply.code(status).send(typeof body === "string" ? body : Readable.from(body));
      });
    }
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    return { url, close: () => app.close(), cut: () => app.server.closeAllConnections() };
  },
};
