import { once } from "node:events";
import type { AddressInfo } from "node:net";
import express, { type ErrorRequestHandler } from "express";
import { TaskManager, taskLog } from "otel-taskflow";
import { taskflow } from "otel-taskflow/express";
import { sdk } from "./instrumentation.js";

// Run it with: npx tsx --import ./examples/web/instrumentation.ts examples/web/express.ts

const tasks = new TaskManager();
const sendReceipt = tasks.task({ name: "sendReceipt", retries: 2, delay: 200 }, async (order: number) => {
  taskLog("sending", { order });
});

const app = express();
app.use(taskflow(tasks));

app.post("/orders/:order/payment", async (req, res) => {
  const order = Number(req.params.order);
  const receipt = await req.tasks.addTask(sendReceipt, [order], { tags: { source: "api" } });
  charge(order); // throws, and then no receipt is sent
  res.status(202).json({ receipt });
});

// Express tells no middleware that a handler threw; its error handler knows.
const answerError: ErrorRequestHandler = (error, req, res, _next) => {
  req.tasks.discard();
  res.status(402).json({ message: error.message });
};
app.use(answerError);

function charge(order: number): void {
  if (order === 13) throw new Error("the card was declined");
}

const server = app.listen(0, "127.0.0.1");
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
// trace 7df674159b4b27f2ad23ae9724212624 · 3 spans · 47ms
//                           0        10ms     20ms    30ms     40ms
// POST                      ██████████████████                          20ms
// └─ enqueue sendReceipt                       ████                    4.6ms
//    │ source=api
//    └─ process sendReceipt                              ░░░░░░░█████  5.8ms  attempt 0 of 3 ✓ success
//           +42ms  info  sending order=1
//
// trace 2cdaa3e37dabe794d874dd1283e3384c · 1 span · 2ms
//      0        200µs   400µs    600µs    800µs    1ms     1.2ms    1.4ms    1.6ms    1.8ms
// POST ████████████████████████████████████████████████████████████████████████████████████████    2ms
