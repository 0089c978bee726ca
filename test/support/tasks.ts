import { TaskManager, type TaskManagerOptions } from "otel-taskflow";
import { onTestFinished } from "vitest";

/** A manager that says nothing by itself, and is shut down when the running test is finished. */
export function createTasks(options: TaskManagerOptions = {}): TaskManager {
  const tasks = new TaskManager({ onNotice: false, ...options });
  onTestFinished(async () => {
    await tasks.shutdown({ timeout: 0 });
  });
  return tasks;
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A promise settled from outside. */
export function deferred<T = void>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
