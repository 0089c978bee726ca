export type { DoorOptions, JobView } from "../adapters/door.js";
export { withTasks } from "./bullmq.js";
export { TaskInstrumentation, type TaskInstrumentationConfig } from "./task-instrumentation.js";
