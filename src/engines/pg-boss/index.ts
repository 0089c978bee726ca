export {
  carrierOf,
  inTask,
  type SendJobOptions,
  sendJob,
  type TaskJob,
  workTask,
} from "../../adapters/pg-boss.js";
export { type PgBossDoorOptions, withTasks } from "../../instrumentation/pg-boss.js";
export { withCarrier } from "./carriers.js";
export { pgBossEngine } from "./engine.js";
export type { PgBossEngineOptions } from "./options.js";
