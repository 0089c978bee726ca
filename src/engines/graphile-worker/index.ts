export {
  addJob,
  addJobs,
  carrierOf,
  type GraphileBulkSpec,
  type GraphileJobAdder,
  type GraphileJobOptions,
  type GraphileJobsAdder,
  type GraphileTaskHelpers,
  type GraphileTaskOptions,
  withTask,
} from "../../adapters/graphile-worker.js";
export { withTasks } from "../../instrumentation/graphile-worker.js";
export { graphileEngine } from "./engine.js";
export type { GraphileJob, GraphileJobSpec, GraphilePool, GraphileRunner, GraphileUtils } from "./library.js";
export type { GraphileEngineOptions } from "./options.js";
export { withCarrier } from "./stored-task.js";
