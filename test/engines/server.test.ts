import { Queue, Worker } from "bullmq";
import { makeWorkerUtils, run } from "graphile-worker";
import { TaskManager } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { graphileEngine } from "otel-taskflow/graphile-worker";
import pg from "pg";
import { expect, test } from "vitest";
import { startMetrics } from "../support/metrics.js";
import { redisUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";

const local = { address: "127.0.0.1", port: 6380 };
const { url, unavailable } = await redisUrl();

test.each<[what: string, connection: object | string, server: object | undefined]>([
  ["host and port", { host: "127.0.0.1", port: 6380 }, local],
  ["a port as a text", { host: "127.0.0.1", port: "6380" }, local],
  ["a host alone", { host: "redis.internal" }, { address: "redis.internal" }],
  [
    "options with a URL",
    { url: "rediss://user:secret@redis.internal:6380/1" },
    { ...local, address: "redis.internal" },
  ],
  ["a URL", "redis://[::1]:6380", { ...local, address: "::1" }],
  ["a client", { options: { host: "127.0.0.1", port: 6380 } }, local],
  ["a socket", { path: "/run/redis.sock" }, undefined],
])("BullMQ's engine knows its server by %s", (_what, connection, server) => {
  expect(bullmqEngine({ Queue, Worker, connection }).server).toEqual(server);
});

test("graphile-worker's engine knows its server by a URL and by a pool", async () => {
  const connectionString = "postgres://user:secret@db.internal:5433/jobs";
  const pgPool = new pg.Pool({ host: "db.internal", port: 5433 });
  const server = { address: "db.internal", port: 5433 };
  expect(graphileEngine({ run, makeWorkerUtils, connectionString }).server).toEqual(server);
  expect(graphileEngine({ run, makeWorkerUtils, pgPool }).server).toEqual(server);
  await pgPool.end();
});

if (url === undefined) describeUnavailable("the conventions' metrics of messages", unavailable);
else {
  test("the conventions' metrics of messages say which server has them", async () => {
    const metrics = startMetrics();
    const { hostname, port } = new URL(url);
    const connection = { host: hostname, port: Number(port || 6379) };
    const tasks = new TaskManager({
      engine: bullmqEngine({ Queue, Worker, connection, queue: `server-${crypto.randomUUID()}` }),
    });
    const task = tasks.task({ name: "task" }, async () => {});
    await tasks.work();
    await tasks.addTask(task);
    await tasks.idle();
    await tasks.shutdown();
    const collected = await metrics.collect();
    const server = { "server.address": hostname, "server.port": connection.port };
    for (const name of [
      "client.sent.messages",
      "client.operation.duration",
      "client.consumed.messages",
      "process.duration",
    ]) {
      const points = collected.get(`messaging.${name}`)?.dataPoints ?? [];
      expect(points.map(({ attributes }) => attributes)).toEqual([expect.objectContaining(server)]);
    }
  });
}
