export { keepRetries, type TaskSampler } from "./keep-retries.js";
export { TaskLogRecordProcessor, type TaskLogRecordTarget } from "./log-record-processor.js";
export { type BridgedLogRecord, SpanEventBridge } from "./span-event-bridge.js";
export { type TaskSpan, TaskSpanProcessor } from "./span-processor.js";
export {
  TaskTreeExporter,
  type TaskTreeExporterOptions,
  type TaskTreeExportResult,
  type TaskTreeStream,
} from "./tree/exporter.js";
export type { TreeReadableSpan } from "./tree/span.js";
