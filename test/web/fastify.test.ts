import Fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import { isTaskConfigError, type TaskManager, type TaskScope } from "otel-taskflow";
import { taskflow } from "otel-taskflow/fastify";
import { expect, expectTypeOf, onTestFinished, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { fastifyWorld } from "./fastify-world.js";
import { turns } from "./service.js";

interface App {
  readonly app: FastifyInstance;
  readonly manager: TaskManager;
  readonly ran: string[];
  readonly note: (what: string) => void;
}

async function createApp(app: FastifyInstance = Fastify()): Promise<App> {
  const manager = createTasks();
  const ran: string[] = [];
  const note = manager.task("note", (what: string) => void ran.push(what));
  await app.register(taskflow, { tasks: manager });
  onTestFinished(() => app.close());
  return { app, manager, ran, note };
}

/** Injects one request; its tasks have ended when this returns. */
async function inject({ app, manager }: App, url = "/"): Promise<number> {
  const { statusCode } = await app.inject(url);
  await turns();
  await manager.idle();
  return statusCode;
}

test("request.tasks is there in the routes of other plugins, and in their hooks", async () => {
  const service = await createApp();
  service.app.register(async (inner) => {
    inner.addHook("preHandler", async ({ tasks }) => void (await tasks.addTask(service.note, ["hook"])));
    inner.get("/", async ({ tasks }) => tasks.addTask(service.note, ["route"]));
  });
  expect(await inject(service)).toBe(200);
  expect(service.ran).toEqual(["hook", "route"]);
});

test("an error that the application's error handler answers with 200 has failed the handler", async () => {
  const service = await createApp();
  service.app.setErrorHandler((_error, _request, reply) => reply.code(200).send({ errors: ["down"] }));
  service.app.get("/", async ({ tasks }) => {
    await tasks.addTask(service.note, ["a"]);
    throw new Error("down");
  });
  expect(await inject(service)).toBe(200);
  expect(service.ran).toEqual([]);
});

test("an error that is sent instead of thrown has failed the handler", async () => {
  const service = await createApp();
  service.app.get("/", async ({ tasks }, reply) => {
    await tasks.addTask(service.note, ["a"]);
    return reply.send(fastifyWorld.httpError(409));
  });
  expect(await inject(service)).toBe(409);
  expect(service.ran).toEqual([]);
});

test("a response that the handler has taken over starts the tasks when it ends", async () => {
  const service = await createApp();
  service.app.get("/", async ({ tasks }, reply) => {
    await tasks.addTask(service.note, ["a"]);
    reply.hijack();
    reply.raw.end("raw");
  });
  expect(await inject(service)).toBe(200);
  expect(service.ran).toEqual(["a"]);
});

test("a hook that throws before there are request.tasks is answered as ever", async () => {
  const app = Fastify();
  app.addHook("onRequest", async () => {
    throw fastifyWorld.httpError(401);
  });
  const service = await createApp(app);
  expect(await inject(service)).toBe(401);
});

test("options without a task manager reject ready()", async () => {
  const app = Fastify();
  app.register(taskflow, {} as { tasks: TaskManager });
  await expect(app.ready()).rejects.toSatisfy(isTaskConfigError);
});

test("a second registration is refused, instead of taking the first one's place", async () => {
  const { app, manager } = await createApp();
  await expect(app.register(taskflow, { tasks: manager })).rejects.toThrow("'tasks' has already been added");
});

test("request.tasks has a type wherever the plugin is imported", () => {
  expectTypeOf<FastifyRequest["tasks"]>().toEqualTypeOf<TaskScope>();
});
