import type { TaskManager, TaskManagerOptions } from "otel-taskflow";
import { onTestFinished } from "vitest";
import { createTasks } from "./tasks.js";
import { stopTelemetry, useContextManager } from "./telemetry.js";

/** A process as far as context is concerned: who carries it, and since when. */
export interface World {
  readonly title: string;
  create(options?: TaskManagerOptions): TaskManager;
}

/** Every way an application may have set up its context manager. */
export const worlds: readonly World[] = [
  {
    title: "with the OpenTelemetry context manager",
    create: (options) => withManager(() => createTasks(options), true),
  },
  { title: "without any context manager", create: (options) => createTasks(options) },
  {
    title: "with a context manager registered after the task manager",
    create: (options) => withManager(() => createTasks(options), false),
  },
];

function withManager(create: () => TaskManager, before: boolean): TaskManager {
  onTestFinished(stopTelemetry);
  if (before) useContextManager();
  const tasks = create();
  if (!before) useContextManager();
  return tasks;
}
