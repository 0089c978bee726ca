import { checkFunction, checkKeys, checkMethods, checkNumber, MAX_TIMER_MS, namesOf } from "../core/checks.js";
import { type EnqueueRequest, requestOf } from "../core/enqueue.js";
import { TaskConfigError } from "../core/errors.js";
import { TELEMETRY_KEYS } from "../core/info-keys.js";
import type { GivenTags, TaskContext, TaskRelation, TaskTelemetryOptions } from "../core/types.js";
import type { TaskEngine } from "../engines/engine.js";
import type { NoticeListener } from "./voice.js";

const DEFAULT_SHUTDOWN_MS = 10_000;

/** Not in every runtime. */
declare const navigator: { readonly userAgent?: unknown } | undefined;

/** What a hook is told. */
export interface TaskEvent {
  readonly context: TaskContext;
  /** What the attempt failed with. */
  readonly error?: unknown;
  /** Milliseconds until the next attempt. */
  readonly delay?: number | undefined;
}

/** Called inside the task's context before its span ends, and awaited; what it throws goes to diag. */
export type TaskHook = (event: TaskEvent) => void | Promise<void>;

export interface TaskManagerOptions extends TaskTelemetryOptions {
  /** Where tasks wait, and what runs them. Default: `memoryEngine()`. */
  engine?: TaskEngine | undefined;
  /** How attempts relate to the trace that enqueues, for tasks that do not say otherwise. Default `"parent"`. */
  relation?: TaskRelation | undefined;
  /** Called when an attempt failed and another will follow. Default none. */
  onRetry?: TaskHook | undefined;
  /** Called when a task is done. Default none. */
  onSuccess?: TaskHook | undefined;
  /** Called when a task gave up. Default none; `onNotice` then hears of it. */
  onFailure?: TaskHook | undefined;
  /** Called when a task was cancelled, or a shutdown left it out. Default none. */
  onCancel?: TaskHook | undefined;
  /**
   * Hears what would otherwise be silent: a task that gave up, a store that cannot be reached and that can be again, a
   * task whose name is not registered here, a tag that was cut. `false`: nobody does. Default: a line on stderr, at most
   * one a minute for each kind and task name; none for tasks that give up where there is an `onFailure`.
   */
  onNotice?: false | NoticeListener | undefined;
}

export interface TaskOptions {
  /** Default: the function's own name. Give one with a distributed engine: minifiers rename functions. */
  name?: string | undefined;
  /** Attempts after the first. Default 0. */
  retries?: number | undefined;
  /** Milliseconds before the first retry. Default 0. */
  delay?: number | undefined;
  /** Factor from one wait to the next, from 1. Default 1. */
  backoff?: number | undefined;
  /** Upper bound of a wait, in milliseconds. Default none. */
  maxDelay?: number | undefined;
  /** 0 to 1: a wait is drawn between (1 − jitter) times its length and its length. Default 0. */
  jitter?: number | undefined;
  /** Milliseconds an attempt may take. Default none. */
  timeout?: number | undefined;
  /** False gives up at once. What it throws goes to diag and counts as true. Default: every error is retried. */
  retryIf?: ((error: unknown, context: TaskContext) => boolean) | undefined;
  /** How the attempts' trace relates to the one that enqueues. Default: the manager's. */
  relation?: TaskRelation | undefined;
}

export interface AddTaskOptions {
  /** Labels of this task: see `GivenTags`. Default none. */
  tags?: GivenTags | undefined;
  /** Milliseconds until the first attempt. Default 0. */
  delay?: number | undefined;
  /** Default: a UUID v4. A task whose id is live already is not enqueued twice. */
  taskId?: string | undefined;
  /** Attempts after the first, for this one task. Default: what the process that runs the task says. */
  retries?: number | undefined;
}

export interface ShutdownOptions {
  /** Milliseconds to let tasks end by themselves. Default 10,000. */
  timeout?: number | undefined;
}

/** The names of all options of a manager. */
export const MANAGER_KEYS: ReadonlySet<string> = namesOf<TaskManagerOptions>({
  ...TELEMETRY_KEYS,
  engine: true,
  relation: true,
  onRetry: true,
  onSuccess: true,
  onFailure: true,
  onCancel: true,
  onNotice: true,
});
const ADD_KEYS = namesOf<AddTaskOptions>({ tags: true, delay: true, taskId: true, retries: true });
const SHUTDOWN_KEYS = namesOf<ShutdownOptions>({ timeout: true });

/** @throws TaskConfigError for what is no object, or has an option of another name. */
export function checkManagerOptions(options: TaskManagerOptions): void {
  checkKeys("new TaskManager()", options, MANAGER_KEYS);
}

/**
 * The task that is asked for; `tellCut` hears the key of each tag that was cut.
 *
 * @throws TaskConfigError for an unknown option, or one out of range.
 */
export function checkAddOptions(
  call: string,
  options: AddTaskOptions,
  tellCut?: (tag: string) => void,
): EnqueueRequest {
  checkKeys(call, options, ADD_KEYS);
  return requestOf(options, tellCut);
}

/**
 * Milliseconds to let tasks end by themselves.
 *
 * @throws TaskConfigError for an unknown option, or one out of range.
 */
export function shutdownTimeout(options: ShutdownOptions): number {
  checkKeys("shutdown()", options, SHUTDOWN_KEYS);
  return checkNumber("timeout", options.timeout ?? DEFAULT_SHUTDOWN_MS, { min: 0, max: MAX_TIMER_MS });
}

/** @throws TaskConfigError unless the value is a function, `false` or left out. */
export function checkOnNotice(onNotice: TaskManagerOptions["onNotice"]): TaskManagerOptions["onNotice"] {
  if (onNotice !== undefined && onNotice !== false) checkFunction("onNotice", onNotice);
  return onNotice;
}

/** @throws TaskConfigError where a process ends what outlives the request that it was called for. */
export function checkRuntime(): void {
  if (typeof navigator !== "object" || navigator.userAgent !== "Cloudflare-Workers") return;
  throw new TaskConfigError("TaskManager: not for Cloudflare Workers; use runAttempt()");
}

/** @throws TaskConfigError unless the value can be used as an engine. */
export function checkEngine(engine: TaskEngine): TaskEngine {
  checkMethods("engine", "what memoryEngine() or another engine returns", engine, ["open"]);
  return engine;
}
