import { AsyncResource } from "node:async_hooks";

/** Timers, polls and turns of a queue belong to no task: they run in the context this file was loaded in. */
export const HOME: AsyncResource = new AsyncResource("otel-taskflow.engine", { requireManualDestroy: true });
