import { createRequire } from "node:module";
import { pipeline, Readable } from "node:stream";
import express5, { type Response } from "express";
import { taskflow } from "otel-taskflow/express";
import { listen } from "./listen.js";
import type { Answer, WebWorld } from "./world.js";

// an alias of express 4, which comes without types; what is used here is the same in both
const express4 = createRequire(import.meta.url)("express4") as typeof express5;

export const expressVersions = [
  { title: "express 4", express: express4 },
  { title: "express 5", express: express5 },
];

export const expressWorlds: readonly WebWorld[] = expressVersions.map(({ title, express }) => worldOf(title, express));

function worldOf(title: string, express: typeof express5): WebWorld {
  return {
    title,
    tellsThrown: false,
    httpError: (status) => Object.assign(new Error("refused"), { status }),
    serve(manager, handlers) {
      const app = express();
      app.set("env", "test"); // does not print the errors it answers
      app.use(taskflow(manager));
      for (const [path, handle] of Object.entries(handlers)) {
        app.get(path, (req, res, next) => {
          handle(req.tasks).then((answer) => send(res, answer), next);
        });
      }
      return listen(app);
    },
  };
}

function send(res: Response, { status = 200, body }: Answer): void {
  res.status(status);
  if (typeof body === "string") res.send(body);
  else pipeline(Readable.from(body), res, () => {});
}
