import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { Readable } from "node:stream";
import Fastify, { type FastifyRequest } from "fastify";
import { taskflow } from "otel-taskflow/fastify";
import { expect, onTestFinished, test } from "vitest";
import { createTasks, type Deferred, deferred } from "../support/tasks.js";
import { until } from "./service.js";

interface App {
  readonly session: ClientHttp2Session;
  readonly ran: string[];
  /** Whose handler has added its task. */
  readonly added: string[];
  /** What handlers wait for: after adding their task, or in the middle of their stream. */
  readonly rest: Deferred<void>;
}

/** Handlers that add a task named by their path, over HTTP/2. */
async function startApp(): Promise<App> {
  const tasks = createTasks();
  const [ran, added]: [string[], string[]] = [[], []];
  const note = tasks.task("note", (what: string) => void ran.push(what));
  const rest = deferred();
  const add = async (request: Pick<FastifyRequest, "tasks" | "url">): Promise<void> => {
    await request.tasks.addTask(note, [request.url]);
    added.push(request.url);
  };
  const app = Fastify({ http2: true });
  await app.register(taskflow, { tasks });
  app.get("/plain", async (request) => add(request).then(() => "ok"));
  app.get("/fails", async (request) => add(request).then(() => Promise.reject(new Error("down"))));
  app.get("/waits", async (request) => add(request).then(() => rest.promise));
  app.get("/stream", async (request) => add(request).then(() => Readable.from(pieces(rest.promise))));
  const session = connect(await app.listen({ port: 0, host: "127.0.0.1" }));
  onTestFinished(async () => {
    session.destroy();
    await app.close();
  });
  return { session, ran, added, rest };
}

async function* pieces(rest: Promise<void>): AsyncGenerator<string> {
  yield "one";
  await rest;
  yield "two";
}

function ask({ session }: App, path: string): ClientHttp2Stream {
  const stream = session.request({ ":path": path });
  stream.on("error", () => {}); // as it is when the server breaks it off
  return stream;
}

async function askAll(app: App, ...paths: string[]): Promise<void> {
  for (const path of paths) await once(ask(app, path).resume(), "close");
}

test("over HTTP/2 a task starts when the response has been sent, and not where the handler failed", async () => {
  const app = await startApp();
  await askAll(app, "/fails", "/plain");
  await until(() => expect(app.ran).toEqual(["/plain"]));
});

test("over HTTP/2 a task does not start when the stream breaks", async () => {
  const app = await startApp();
  app.rest.promise.catch(() => {});
  const stream = ask(app, "/stream");
  await once(stream, "data");
  app.rest.reject(new Error("the source is gone"));
  await once(stream, "close");
  await askAll(app, "/plain");
  await until(() => expect(app.ran).toEqual(["/plain"]));
});

test.each(["/waits", "/stream"])("over HTTP/2 a task of %s starts when the client goes", async (path) => {
  const app = await startApp();
  const stream = ask(app, path).resume();
  const answering = path === "/stream" ? once(stream, "response") : undefined;
  await until(() => expect(app.added).toEqual([path]));
  await answering;
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => expect(app.ran).toEqual([path]));
  app.rest.resolve();
});
