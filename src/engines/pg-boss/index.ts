export { type SendJobOptions, sendJob, type TaskJob, workTask } from "../../adapters/pg-boss.js";
export { withCarrier } from "./carriers.js";
export { pgBossEngine } from "./engine.js";
export type { PgBossEngineOptions } from "./options.js";
