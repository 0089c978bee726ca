export {
  addJob,
  addJobs,
  type GraphileBulkSpec,
  type GraphileJobAdder,
  type GraphileJobOptions,
  type GraphileJobsAdder,
} from "./graphile-worker-add.js";
export { type GraphileTaskHelpers, type GraphileTaskOptions, withTask } from "./graphile-worker-run.js";
