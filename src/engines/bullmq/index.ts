export {
  addFlow,
  addJob,
  addJobs,
  type BullmqAddedJob,
  type BullmqBulkItem,
  type BullmqBulkJob,
  type BullmqFlow,
  type BullmqFlowProducer,
  type BullmqJobOptions,
  type BullmqJobQueue,
  type BullmqTaskOptions,
  carrierOf,
  withTask,
} from "../../adapters/bullmq.js";
export { withTasks } from "../../instrumentation/bullmq.js";
export { bullmqEngine } from "./engine.js";
export type {
  BullmqProcessor,
  BullmqQueue,
  BullmqQueueClass,
  BullmqStoredJob,
  BullmqWorker,
  BullmqWorkerClass,
  BullmqWorkerJob,
} from "./library.js";
export type { BullmqEngineOptions } from "./options.js";
export { type BullmqJob, withCarrier } from "./stored-task.js";
