import { headers } from "@nats-io/transport-node";
import { enqueueTask } from "otel-taskflow";
import { MAX_ATTEMPTS, type Order, openStream, ROUTE, SUBJECT } from "./stream.js";
import { sdk } from "./telemetry.js";

const { connection, js } = await openStream();

async function enqueueOrder(order: Order, plan: string): Promise<void> {
  const task = { funcName: "shipOrder", tags: { plan }, maxAttempts: MAX_ATTEMPTS, ...ROUTE };
  await enqueueTask(task, async (carrier, taskId) => {
    const carried = headers();
    for (const [name, value] of Object.entries(carrier)) carried.set(name, value);
    await js.publish(SUBJECT, JSON.stringify(order), { msgID: taskId, headers: carried });
  });
}

await enqueueOrder({ id: 7 }, "pro");
await enqueueOrder({ id: 13 }, "free");
await enqueueOrder({ id: 21 }, "pro");

await connection.drain();
await sdk.shutdown();

// Output, apart from ids and times:
//
// trace 9668b5b7139567d312b5792e1a842437 · 1 span · 64ms
//                   0           10ms       20ms        30ms        40ms       50ms        60ms
// enqueue shipOrder ███████████████████████████████████████████████████████████████████████████   64ms
//   plan=pro
//
// trace 1014bd2843ea5f5576e0884a4575c2e0 · 1 span · 11ms
//                   0      1ms    2ms   3ms    4ms    5ms    6ms    7ms    8ms   9ms    10ms
// enqueue shipOrder ███████████████████████████████████████████████████████████████████████████   11ms
//   plan=free
//
// trace 5e954b13f9b254c25faac5f1fd3558b6 · 1 span · 13ms
//                   0           2ms        4ms         6ms         8ms        10ms        12ms
// enqueue shipOrder ███████████████████████████████████████████████████████████████████████████   13ms
//   plan=pro
