export {
  addJob,
  addJobs,
  type GraphileBulkSpec,
  type GraphileJobAdder,
  type GraphileJobOptions,
  type GraphileJobsAdder,
} from "./graphile-worker-add.js";
export { carrierOf, type GraphileTaskHelpers, type GraphileTaskOptions, withTask } from "./graphile-worker-run.js";
