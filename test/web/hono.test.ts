import { Hono } from "hono";
import type { TaskManager, TaskScope } from "otel-taskflow";
import { taskflow } from "otel-taskflow/hono";
import { expect, expectTypeOf, test } from "vitest";
import { createTasks } from "../support/tasks.js";

interface App {
  readonly app: Hono;
  readonly manager: TaskManager;
  readonly ran: string[];
  readonly note: (what: string) => void;
}

function createApp(): App {
  const manager = createTasks();
  const ran: string[] = [];
  const note = manager.task("note", (what: string) => void ran.push(what));
  const app = new Hono();
  app.use(taskflow(manager));
  app.onError((_error, c) => c.text("failed", 500));
  return { app, manager, ran, note };
}

test("without a Node server a task starts when the handler has returned its response", async () => {
  const { app, manager, ran, note } = createApp();
  app.get("/", async (c) => {
    await c.var.tasks.addTask(note, ["a"]);
    await manager.idle();
    return c.text(`${ran.length} have run`);
  });
  expect(await (await app.request("/")).text()).toBe("0 have run");
  await manager.idle();
  expect(ran).toEqual(["a"]);
});

test.each<[string, unknown]>([
  ["an error", new Error("down")],
  ["something that is no error", "down"],
])("without a Node server a handler that throws %s starts nothing", async (_, thrown) => {
  const { app, manager, ran, note } = createApp();
  app.get("/", async (c) => {
    await c.get("tasks").addTask(note, ["a"]);
    throw thrown;
  });
  await Promise.resolve(app.request("/")).catch(() => {});
  await manager.idle();
  expect(ran).toEqual([]);
});

test("without a Node server a handler that answers 503 starts nothing", async () => {
  const { app, manager, ran, note } = createApp();
  app.get("/", async (c) => {
    await c.var.tasks.addTask(note, ["a"]);
    return c.text("later", 503);
  });
  expect((await app.request("/")).status).toBe(503);
  await manager.idle();
  expect(ran).toEqual([]);
});

test("an error that the application's onError answers with 200 has failed the handler", async () => {
  const { app, manager, ran, note } = createApp();
  app.onError((_error, c) => c.json({ errors: ["down"] }, 200));
  app.get("/", async (c) => {
    await c.var.tasks.addTask(note, ["a"]);
    throw new Error("down");
  });
  expect((await app.request("/")).status).toBe(200);
  await manager.idle();
  expect(ran).toEqual([]);
});

test("c.var.tasks is there in an app that is mounted as a route, whose own onError counts too", async () => {
  const { app, manager, ran, note } = createApp();
  const orders = new Hono();
  orders.onError((_error, c) => c.json({ errors: ["no such order"] }, 404));
  orders.get("/", async (c) => c.text(await c.var.tasks.addTask(note, ["found"])));
  orders.get("/13", async (c) => {
    await c.var.tasks.addTask(note, ["missing"]);
    throw new Error("no such order");
  });
  app.route("/orders", orders);
  expect((await app.request("/orders/13")).status).toBe(404);
  expect((await app.request("/orders")).status).toBe(200);
  await manager.idle();
  expect(ran).toEqual(["found"]);
});

test("c.var.tasks has a type wherever the middleware is imported, beside variables of one's own", () => {
  new Hono<{ Variables: { user: string } }>().get("/", (c) => {
    expectTypeOf(c.var.tasks).toEqualTypeOf<TaskScope>();
    expectTypeOf(c.get("tasks")).toEqualTypeOf<TaskScope>();
    expectTypeOf(c.var.user).toEqualTypeOf<string>();
    return c.text("");
  });
});
