export type { TaskConsoleOptions } from "./line.js";
export { patchConsole } from "./patch-console.js";
export { taskLogPrefix } from "./prefix.js";
export { taskConsole } from "./task-console.js";
