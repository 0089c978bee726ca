import Fastify from "fastify";
import { TaskManager, taskLog } from "otel-taskflow";
import { taskflow } from "otel-taskflow/fastify";
import { sdk } from "./instrumentation.js";

// Run it with: npx tsx --import ./examples/web/instrumentation.ts examples/web/fastify.ts

const tasks = new TaskManager();
const sendReceipt = tasks.task({ name: "sendReceipt", retries: 2, delay: 200 }, async (order: number) => {
  taskLog("sending", { order });
});

const app = Fastify();
await app.register(taskflow, { tasks });

app.post<{ Params: { order: string } }>("/orders/:order/payment", async (request, reply) => {
  const order = Number(request.params.order);
  const receipt = await request.tasks.addTask(sendReceipt, [order], { tags: { source: "api" } });
  charge(order); // throws, and then no receipt is sent
  return reply.code(202).send({ receipt });
});

function charge(order: number): void {
  if (order === 13) throw Object.assign(new Error("the card was declined"), { statusCode: 402 });
}

const url = await app.listen({ port: 0, host: "127.0.0.1" });
for (const order of [1, 13]) {
  const { status } = await fetch(`${url}/orders/${order}/payment`, { method: "POST" });
  console.log(`order ${order}: ${status}`);
}

// First no new requests, then the tasks of the last ones, then their spans.
await app.close();
await tasks.shutdown();
await sdk.shutdown();

// Output, apart from ids and times:
//
// order 1: 202
// order 13: 402
// trace c240eb723c3a13c9ba87ce895878cdbd · 3 spans · 16ms
//                           0            5ms          10ms
// POST                      ██████████████████████████                  10ms
// └─ enqueue sendReceipt                                   ███         937µs
//    │ source=api
//    └─ process sendReceipt                                ░░░░░░░░██  789µs  attempt 0 of 3 ✓ success
//           +16ms  info  sending order=1
//
// trace f77a7d2324dba740a5f4dcec34c0956b · 1 span · 2.6ms
//      0      200µs  400µs  600µs  800µs 1ms    1.2ms  1.4ms  1.6ms  1.8ms  2ms    2.2ms  2.4ms
// POST ████████████████████████████████████████████████████████████████████████████████████████  2.6ms
