// A service as users run it: NodeSDK, instrumented servers and clients. Prints its address, serves one request
// whose task calls a second server, then prints what arrived where.
import type { IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { exporter } from "../support/instrumented-sdk.js";

// after the start: instrumentations patch what is loaded later
const { default: Fastify } = await import("fastify");
const { getTaskContext, TaskManager } = await import("otel-taskflow");

const tasks = new TaskManager();
const received: IncomingHttpHeaders[] = [];
let tags: unknown;

const downstream = Fastify();
downstream.get("/", async (request) => {
  received.push(request.headers);
  return "ok";
});
await downstream.listen({ port: 0, host: "127.0.0.1" });
const { port } = downstream.server.address() as AddressInfo;

const report = tasks.task("report", async () => {
  tags = getTaskContext()?.tags;
  await (await fetch(`http://127.0.0.1:${port}/`)).text();
});

const frontend = Fastify();
frontend.post("/", async () => ({ id: await tasks.addTask(report, [], { tags: { source: "api" } }) }));
frontend.addHook("onResponse", async () => {
  await tasks.idle();
  await Promise.all([frontend.close(), downstream.close()]);
  const spans = exporter.getFinishedSpans().map(({ name, attributes }) => ({ name, attributes }));
  await new Promise((resolve) => process.stdout.write(`${JSON.stringify({ tags, received, spans })}\n`, resolve));
  process.exit();
});
process.stdout.write(`${JSON.stringify({ url: await frontend.listen({ port: 0, host: "127.0.0.1" }) })}\n`);
