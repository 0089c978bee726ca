// A processor file, which knows nothing of this library but getTaskContext().
import { trace } from "@opentelemetry/api";
import { getTaskContext, NonRetryableError } from "otel-taskflow";

async function look(job) {
  if (job.name === "dies" && job.attemptsMade === 0) process.kill(process.pid, "SIGKILL");
  if (job.name === "gives-up") throw new NonRetryableError("never");
  const { taskId, attempt, tags } = getTaskContext() ?? {};
  const traceId = trace.getActiveSpan()?.spanContext().traceId;
  const spans = globalThis.otel?.spans().map(({ name }) => name) ?? [];
  return { taskId, attempt, tags, traceId, keys: Object.keys(job).filter((key) => key.startsWith("otel")), spans };
}

// biome-ignore lint/style/noDefaultExport: BullMQ takes a processor from there
export { look as default };
