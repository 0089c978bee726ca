export { withCarrier } from "./carried-data.js";
export { pgBossEngine } from "./engine.js";
export type { PgBossEngineOptions } from "./options.js";
export { type SendJobOptions, sendJob } from "./send-job.js";
export { type TaskJob, workTask } from "./work-task.js";
