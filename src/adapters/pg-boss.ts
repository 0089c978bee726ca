export { type SendJobOptions, sendJob } from "./pg-boss-add.js";
export { carrierOf, inTask, type TaskJob } from "./pg-boss-job.js";
export { workTask } from "./pg-boss-run.js";
