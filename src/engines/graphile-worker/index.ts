export { addJob, type GraphileJobAdder, type GraphileJobOptions } from "./add-job.js";
export { withCarrier } from "./carried-flags.js";
export { graphileEngine } from "./engine.js";
export type { GraphileJob, GraphileJobSpec, GraphilePool, GraphileRunner, GraphileUtils } from "./graphile.js";
export type { GraphileEngineOptions } from "./options.js";
export { type GraphileTaskHelpers, type GraphileTaskOptions, withTask } from "./with-task.js";
