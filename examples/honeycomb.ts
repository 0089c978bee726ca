import { NodeSDK } from "@opentelemetry/sdk-node";
import { NonRetryableError, TaskManager, taskLog } from "otel-taskflow";

const { HONEYCOMB_API_KEY, HONEYCOMB_DATASET } = process.env;
if (!HONEYCOMB_API_KEY) {
  console.error("Set HONEYCOMB_API_KEY to the ingest key of a Honeycomb environment.");
  process.exit(1);
}

// What the SDK reads anyway: a deployment sets these two itself, and the code stays free of any vendor.
const headers = { "x-honeycomb-team": HONEYCOMB_API_KEY, "x-honeycomb-dataset": HONEYCOMB_DATASET };
process.env.OTEL_EXPORTER_OTLP_ENDPOINT ??= "https://api.honeycomb.io";
process.env.OTEL_EXPORTER_OTLP_HEADERS ??= Object.entries(headers)
  .flatMap(([name, value]) => (value ? [`${name}=${encodeURIComponent(value)}`] : []))
  .join(",");

const sdk = new NodeSDK({ serviceName: "orders" });
sdk.start();

// "both": each line is an event on its span, and a log record with the task's id, name, attempt and tags.
// One of them is meant to give up, and its trace says so: no line on stderr as well.
const tasks = new TaskManager({ logs: "both", onNotice: false });

const chargeCard = tasks.task({ name: "chargeCard", retries: 2, delay: 50 }, async (orderId: number) => {
  taskLog("Charging card", { orderId });
  if (orderId === 13) throw new NonRetryableError("The card has expired");
  taskLog("Card charged", { orderId });
});

for (const [orderId, plan] of [
  [7, "enterprise"],
  [13, "enterprise"],
  [21, "free"],
] as const) {
  console.log(`order ${orderId}: task.id=${await tasks.addTask(chargeCard, [orderId], { tags: { plan } })}`);
}
await tasks.shutdown();
await sdk.shutdown().catch(reportUnsent); // sends what is left

// Where no collector listens, the tasks have run all the same: one line, and an exit code of their own.
function reportUnsent({ message, code }: { message?: string; code?: string | number }): void {
  console.error(`The telemetry was not sent: ${message || code}`);
}

// Output, apart from the ids:
//
// order 7: task.id=0d6c7a0a-3b77-4c5b-8a55-9c42f6f0a4de
// order 13: task.id=7b11a6d4-9a51-4a63-9f0e-2b0c3f5e1c0a
// order 21: task.id=5a4d1c0a-77f1-4e0c-b5c9-3f5e9a514a63
//
// In Honeycomb, dataset `orders`:
//
// WHERE task.outcome = failure  AND  task.tag.plan = enterprise      the attempt of order 13
// WHERE task.id = 7b11a6d4-9a51-4a63-9f0e-2b0c3f5e1c0a               everything about that task
// VISUALIZE COUNT  WHERE task.outcome exists  GROUP BY task.tag.plan, task.outcome
