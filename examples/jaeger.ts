import { setTimeout as wait } from "node:timers/promises";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { getTaskContext, TaskManager, taskLog } from "otel-taskflow";

// Exports by OTLP to http://localhost:4318, which is where Jaeger listens, or to OTEL_EXPORTER_OTLP_ENDPOINT.
// Jaeger takes traces only.
const sdk = new NodeSDK({ serviceName: "orders", metricReaders: [], logRecordProcessors: [] });
sdk.start();

// printInvoice is meant to give up, and its trace says so: no line on stderr as well.
const tasks = new TaskManager({ onNotice: false });

const chargeCard = tasks.task({ name: "chargeCard", retries: 1, delay: 50 }, async (orderId: number) => {
  taskLog("Charging card", { orderId });
  await wait(20);
  if (getTaskContext()?.attempt === 0) throw new Error("The bank did not answer");
  taskLog("Card charged", { orderId });
});

const printInvoice = tasks.task({ name: "printInvoice", retries: 1, delay: 50 }, async (orderId: number) => {
  taskLog("Printing", { orderId });
  throw new Error("The printer is out of paper");
});

const tags = { plan: "enterprise" };
console.log(`chargeCard    task.id=${await tasks.addTask(chargeCard, [7], { tags })}`);
console.log(`printInvoice  task.id=${await tasks.addTask(printInvoice, [7], { tags })}`);
await tasks.shutdown();
await sdk.shutdown().catch(reportUnsent); // sends what is left

// Where no collector listens, the tasks have run all the same: one line, and an exit code of their own.
function reportUnsent({ message, code }: { message?: string; code?: string | number }): void {
  console.error(`The telemetry was not sent: ${message || code}`);
}

// Output, apart from the ids:
//
// chargeCard    task.id=2b0c3f5e-9a51-4a63-9f0e-6a4d1c0a7b11
// printInvoice  task.id=f6f0a4de-3b77-4c5b-8a55-0d6c7a0a9c42
//
// In Jaeger, http://localhost:16686, choose the service `orders` and type into Tags:
//
// task.tag.plan=enterprise task.outcome=failure      the trace of printInvoice, which gave up
// task.tag.plan=enterprise task.outcome=retry        both traces: their first attempts failed and ran again
// task.id=2b0c3f5e-9a51-4a63-9f0e-6a4d1c0a7b11       chargeCard from enqueue to its second attempt
