import { AsyncResource } from "node:async_hooks";
import { outsideTasks } from "./live-attempt.js";

/**
 * The library's own timers, polls and turns run here, because they belong to no task and no trace. It is the
 * asynchronous context in which this file was loaded, outside of both. Whatever else an application keeps by
 * `AsyncLocalStorage` stays as it was at that time.
 */
export const HOME: AsyncResource = outsideTasks(
  () => new AsyncResource("otel-taskflow.home", { requireManualDestroy: true }),
);
