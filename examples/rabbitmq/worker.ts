import type { ConsumeMessage } from "amqplib";
import { getTaskContext, isNonRetryableError, NonRetryableError, runAttempt, taskLog } from "otel-taskflow";
import { MAX_ATTEMPTS, type Order, openQueues, QUEUE, RETRIES, RETRY_DELAY_MS, ROUTE } from "./queues.js";
import { sdk } from "./telemetry.js";

const { connection, channel } = await openQueues();
let left = 3;

await channel.prefetch(10);
await channel.consume(QUEUE, async (message) => {
  if (message !== null && (await handle(message)) !== "again") left -= 1;
  if (left === 0) await stop();
});

async function handle(message: ConsumeMessage): Promise<"shipped" | "failed" | "again"> {
  const { attempt = 0, dueAt, ...carrier } = message.properties.headers ?? {};
  const { redelivered } = message.fields; // a worker was lost while it had the message: the same attempt again
  try {
    await runAttempt({ carrier, attempt, dueAt, redelivered, ...ROUTE }, () => shipOrder(orderOf(message)));
  } catch (error) {
    if (!isNonRetryableError(error) && attempt + 1 < MAX_ATTEMPTS) return await retryLater(message, attempt + 1);
    channel.nack(message, false, false); // to FAILED
    return "failed";
  }
  channel.ack(message);
  return "shipped";
}

async function retryLater(message: ConsumeMessage, attempt: number): Promise<"again"> {
  const { headers, ...properties } = message.properties;
  const again = { ...headers, attempt, dueAt: Date.now() + RETRY_DELAY_MS };
  channel.sendToQueue(RETRIES, message.content, { ...properties, headers: again });
  await channel.waitForConfirms(); // lost before the ack, a worker leaves two of them: at least once
  channel.ack(message);
  return "again";
}

function orderOf({ content }: ConsumeMessage): Order {
  return JSON.parse(content.toString());
}

async function shipOrder({ id }: Order): Promise<void> {
  const task = getTaskContext();
  taskLog("shipping", { order: id, plan: task?.tags.plan });
  if (id === 13) throw new NonRetryableError("the address does not exist");
  if (id === 21 && task?.attempt === 0) throw new Error("the carrier's office is closed");
}

// This example ends after three orders; a service does so on SIGTERM, when the handlers under way have ended.
async function stop(): Promise<void> {
  await channel.close(); // first, or the last ack may get lost
  await connection.close();
  await sdk.shutdown();
}

// Output, apart from ids and times:
//
// trace 5e1e07f4d058eb9a7c4689e4731535be · 1 span · 2.1ms
//                   0           500µs      1ms         1.5ms
// process shipOrder █████████████████████████████████████████████████  2.1ms  attempt 0 of 3 ✓ success
//   plan=pro · waited 17ms
//    +1.8ms  info  shipping order=7 plan=pro
//
// trace b3be397f3bca4ec0a1a1b853b3f97653 · 1 span · 1.1ms
//                   0        200µs    400µs    600µs    800µs    1ms
// process shipOrder █████████████████████████████████████████████████  1.1ms  attempt 0 of 3 ✗ failure
//   plan=free · waited 47ms
//    +212µs  info  shipping order=13 plan=free
//    +1.1ms  ✗ NonRetryableError: the address does not exist
//
// trace aacafaaffdbd4ebb916a1d8c42cff85c · 2 spans · 551ms
//                   0        100ms    200ms    300ms    400ms   500ms
// process shipOrder ██                                                  20ms  attempt 0 of 3 ↻ retry
//   plan=pro · waited 13ms
//     +83µs  info  shipping order=21 plan=pro
//     +20ms  ✗ Error: the carrier's office is closed
// process shipOrder                                               ░░▏  139µs  attempt 1 of 3 ✓ success
//   plan=pro · waited 30ms
//    +551ms  info  shipping order=21 plan=pro
