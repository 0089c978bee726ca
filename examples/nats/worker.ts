import type { JsMsg } from "@nats-io/jetstream";
import { getTaskContext, isNonRetryableError, NonRetryableError, runAttempt, taskLog } from "otel-taskflow";
import { CONSUMER, MAX_ATTEMPTS, type Order, openStream, RETRY_DELAY_MS, ROUTE, STREAM } from "./stream.js";
import { sdk } from "./telemetry.js";

const { connection, js } = await openStream();
const consumer = await js.consumers.get(STREAM, CONSUMER);
const messages = await consumer.consume({ max_messages: 10 });
let left = 3;

for await (const message of messages) void handle(message); // several at once: the loop does not wait

await connection.drain();
await sdk.shutdown();

async function handle(message: JsMsg): Promise<void> {
  const attempt = message.info.deliveryCount - 1; // counts what was lost with a worker as well
  try {
    await runAttempt({ carrier: carrierOf(message), attempt, ...ROUTE }, () => shipOrder(message.json()));
    message.ack();
  } catch (error) {
    if (!isNonRetryableError(error) && attempt + 1 < MAX_ATTEMPTS) return message.nak(RETRY_DELAY_MS);
    message.term(); // stays in the stream, undelivered; a reason is for servers from 2.11 on
  }
  left -= 1;
  if (left === 0) messages.stop(); // this example ends after three orders; a service stops on SIGTERM
}

function carrierOf({ headers }: JsMsg): Record<string, string> {
  return Object.fromEntries((headers?.keys() ?? []).map((name) => [name, headers?.get(name) ?? ""]));
}

async function shipOrder({ id }: Order): Promise<void> {
  const task = getTaskContext();
  taskLog("shipping", { order: id, plan: task?.tags.plan });
  if (id === 13) throw new NonRetryableError("the address does not exist");
  if (id === 21 && task?.attempt === 0) throw new Error("the carrier's office is closed");
}

// Output, apart from ids and times:
//
// trace 9668b5b7139567d312b5792e1a842437 · 1 span · 1.8ms
//                   0             500µs         1ms          1.5ms
// process shipOrder █████████████████████████████████████████████████  1.8ms  attempt 0 of 3 ✓ success
//   plan=pro · waited 703ms
//    +1.5ms  info  shipping order=7 plan=pro
//
// trace 1014bd2843ea5f5576e0884a4575c2e0 · 1 span · 500µs
//                   0         100µs     200µs    300µs     400µs
// process shipOrder █████████████████████████████████████████████████  500µs  attempt 0 of 3 ✗ failure
//   plan=free · waited 643ms
//    +137µs  info  shipping order=13 plan=free
//    +500µs  ✗ NonRetryableError: the address does not exist
//
// trace 5e954b13f9b254c25faac5f1fd3558b6 · 2 spans · 509ms
//                   0         100ms    200ms     300ms    400ms
// process shipOrder ▏                                                  309µs  attempt 0 of 3 ↻ retry
//   plan=pro · waited 641ms
//    +104µs  info  shipping order=21 plan=pro
//    +309µs  ✗ Error: the carrier's office is closed
// process shipOrder                                                 ▏  422µs  attempt 1 of 3 ✓ success
//   plan=pro
//    +509ms  info  shipping order=21 plan=pro
