import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { TaskManager, taskLog } from "otel-taskflow";
import { taskflow } from "otel-taskflow/hono";
import { sdk } from "./instrumentation.js";

// Run it with: npx tsx --import ./examples/web/instrumentation.ts examples/web/hono.ts

const tasks = new TaskManager();
const sendReceipt = tasks.task({ name: "sendReceipt", retries: 2, delay: 200 }, async (order: number) => {
  taskLog("sending", { order });
});

const app = new Hono();
app.use(taskflow(tasks));

app.post("/orders/:order/payment", async (c) => {
  const order = Number(c.req.param("order"));
  const receipt = await c.var.tasks.addTask(sendReceipt, [order], { tags: { source: "api" } });
  charge(order); // throws, and then no receipt is sent
  return c.json({ receipt }, 202);
});

function charge(order: number): void {
  if (order === 13) throw new HTTPException(402, { message: "the card was declined" });
}

const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 });
await once(server, "listening");
const { port } = server.address() as AddressInfo;
for (const order of [1, 13]) {
  const { status } = await fetch(`http://127.0.0.1:${port}/orders/${order}/payment`, { method: "POST" });
  console.log(`order ${order}: ${status}`);
}

// First no new requests, then the tasks of the last ones, then their spans.
server.close();
await once(server, "close");
await tasks.shutdown();
await sdk.shutdown();

// Output, apart from ids and times:
//
// order 1: 202
// order 13: 402
// trace 2f23aa08e90968ee15abafa77dc2f102 · 3 spans · 23ms
//                           0        5ms      10ms     15ms    20ms
// POST                      ███████████████████████████████             18ms
// └─ enqueue sendReceipt                                      █        763µs
//    │ source=api
//    └─ process sendReceipt                                    ░░░░██  1.1ms  attempt 0 of 3 ✓ success
//           +23ms  info  sending order=1
//
// trace d9636765ca70f951a423316e81a42bdf · 1 span · 14ms
//      0     1ms    2ms   3ms    4ms   5ms    6ms   7ms    8ms   9ms    10ms  11ms   12ms  13ms
// POST ████████████████████████████████████████████████████████████████████████████████████████   14ms
