import { AsyncResource } from "node:async_hooks";
import { outsideTasks } from "../core/live-attempt.js";

/**
 * Timers, polls and turns of a queue belong to no task and no trace: they run in the context this file was loaded in,
 * without either. What else an application keeps by `AsyncLocalStorage` stays as it was then.
 */
export const HOME: AsyncResource = outsideTasks(
  () => new AsyncResource("otel-taskflow.engine", { requireManualDestroy: true }),
);
