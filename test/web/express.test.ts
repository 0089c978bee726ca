import type express from "express";
import type { ErrorRequestHandler, Request } from "express";
import type { TaskScope } from "otel-taskflow";
import { taskflow } from "otel-taskflow/express";
import { describe, expect, expectTypeOf, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { expressVersions } from "./express-world.js";
import { listen } from "./listen.js";

/** Asks for `/orders` once; its tasks have ended when this returns. */
async function askOnce(app: express.Express): Promise<number> {
  const { url, close } = await listen(app);
  const { status } = await fetch(`${url}/orders`, { headers: { connection: "close" } });
  await close();
  return status;
}

describe.each(expressVersions)("with $title", ({ express: create }) => {
  test("an error handler that discards the tasks makes every thrown error a failure", async () => {
    const manager = createTasks();
    const ran: string[] = [];
    const note = manager.task("note", () => void ran.push("a"));
    const app = create();
    app.use(taskflow(manager));
    app.get("/orders", (req, _res, next) => {
      req.tasks.addTask(note).then(() => next(new Error("no such order")), next);
    });
    const answer: ErrorRequestHandler = (_error, req, res, _next) => {
      req.tasks.discard();
      res.status(404).end();
    };
    app.use(answer);
    expect(await askOnce(app)).toBe(404);
    await manager.shutdown();
    expect(ran).toEqual([]);
  });

  test("a router may have tasks of a manager of its own", async () => {
    const manager = createTasks();
    const ran: string[] = [];
    const note = manager.task("note", () => void ran.push("a"));
    const router = create.Router();
    router.use(taskflow(manager));
    router.get("/", (req, res, next) => {
      req.tasks.addTask(note).then((id) => res.send(id), next);
    });
    const app = create().use(taskflow(createTasks())).use("/orders", router);
    expect(await askOnce(app)).toBe(200);
    await manager.shutdown();
    expect(ran).toEqual(["a"]);
  });
});

test("req.tasks has a type wherever the middleware is imported", () => {
  expectTypeOf<Request["tasks"]>().toEqualTypeOf<TaskScope>();
});
