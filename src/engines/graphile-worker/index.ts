export {
  addJob,
  type GraphileJobAdder,
  type GraphileJobOptions,
  type GraphileTaskHelpers,
  type GraphileTaskOptions,
  withTask,
} from "../../adapters/graphile-worker.js";
export { withCarrier } from "./carried-flags.js";
export { graphileEngine } from "./engine.js";
export type { GraphileJob, GraphileJobSpec, GraphilePool, GraphileRunner, GraphileUtils } from "./graphile.js";
export type { GraphileEngineOptions } from "./options.js";
