import { Readable } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { taskflow } from "otel-taskflow/hono";
import { listen } from "./listen.js";
import type { WebWorld } from "./world.js";

export const honoWorld: WebWorld = {
  title: "hono 4",
  tellsThrown: true,
  httpError: (status) => new HTTPException(status as ContentfulStatusCode),
  serve(manager, handlers) {
    const app = new Hono();
    app.use(taskflow(manager));
    // as the one Hono comes with, but without printing
    app.onError((error, c) => (error instanceof HTTPException ? error.getResponse() : c.text("failed", 500)));
    for (const [path, handle] of Object.entries(handlers)) {
      app.get(path, async (c) => {
        const { status = 200, body } = await handle(c.var.tasks);
        return c.body(typeof body === "string" ? body : bytesOf(body), status as ContentfulStatusCode);
      });
    }
    return listen(getRequestListener(app.fetch));
  },
};

function bytesOf(pieces: AsyncIterable<string>): ReadableStream {
  return Readable.toWeb(Readable.from(pieces, { objectMode: false })) as ReadableStream;
}
