import { enqueueTask } from "otel-taskflow";
import { MAX_ATTEMPTS, type Order, openQueues, QUEUE, ROUTE } from "./queues.js";
import { sdk } from "./telemetry.js";

const { connection, channel } = await openQueues();

async function enqueueOrder(order: Order, plan: string): Promise<void> {
  const task = { funcName: "shipOrder", tags: { plan }, maxAttempts: MAX_ATTEMPTS, ...ROUTE };
  await enqueueTask(task, async (carrier, taskId) => {
    const content = Buffer.from(JSON.stringify(order));
    channel.sendToQueue(QUEUE, content, { persistent: true, messageId: taskId, headers: carrier });
    await channel.waitForConfirms();
  });
}

await enqueueOrder({ id: 7 }, "pro");
await enqueueOrder({ id: 13 }, "free");
await enqueueOrder({ id: 21 }, "pro");

await connection.close();
await sdk.shutdown();

// Output, apart from ids and times:
//
// trace 5e1e07f4d058eb9a7c4689e4731535be · 1 span · 16ms
//                   0        2ms       4ms      6ms      8ms       10ms     12ms      14ms
// enqueue shipOrder ███████████████████████████████████████████████████████████████████████████   16ms
//   plan=pro
//
// trace b3be397f3bca4ec0a1a1b853b3f97653 · 1 span · 34ms
//                   0          5ms        10ms       15ms       20ms       25ms       30ms
// enqueue shipOrder ███████████████████████████████████████████████████████████████████████████   34ms
//   plan=free
//
// trace aacafaaffdbd4ebb916a1d8c42cff85c · 1 span · 3.5ms
//                   0          500µs      1ms       1.5ms      2ms        2.5ms      3ms
// enqueue shipOrder ███████████████████████████████████████████████████████████████████████████  3.5ms
//   plan=pro
