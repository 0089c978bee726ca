import {
  checkFunction,
  checkKeys,
  checkNumber,
  checkOptional,
  checkRelation,
  checkText,
  MAX_TIMER_MS,
  namesOf,
} from "../core/checks.js";
import type { EnqueueSettings } from "../core/enqueue.js";
import { NonRetryableError, TaskConfigError } from "../core/errors.js";
import { warn } from "../core/guard.js";
import { decideRetry, type RetryPolicy } from "../core/retry.js";
import type { AttemptSettings } from "../core/running-attempt.js";
import type { TaskRelation } from "../core/types.js";
import type { TaskOptions } from "./options.js";
import type { Voice } from "./voice.js";

/** Any function, as `task()` and `addTask()` take it. */
export type TaskFunction = (...args: never[]) => unknown;

/** One registered task: everything about it that is known before it is enqueued. */
export interface TaskDefinition {
  readonly fn: TaskFunction;
  readonly enqueue: EnqueueSettings;
  readonly attempt: AttemptSettings;
  /** Hears the key of each tag that was cut. */
  readonly tellCut: (tag: string) => void;
}

/** What all tasks of a manager share. */
export interface SharedSettings extends Pick<AttemptSettings, "route" | "telemetry" | "notify"> {
  /** For tasks that do not say otherwise. */
  readonly relation: TaskRelation;
  /** The engine's own capability. */
  readonly durable: boolean;
  readonly voice: Voice;
}

const TASK_KEYS = namesOf<TaskOptions>({
  name: true,
  retries: true,
  delay: true,
  backoff: true,
  maxDelay: true,
  jitter: true,
  timeout: true,
  retryIf: true,
  relation: true,
});

/**
 * Checks the options of a task once, and makes of them all that its enqueues and its attempts need.
 *
 * @throws TaskConfigError for an unknown option, one out of range, or a function without a name.
 */
export function define(options: string | TaskOptions, fn: TaskFunction, shared: SharedSettings): TaskDefinition {
  const given = typeof options === "string" ? { name: options } : options;
  checkKeys("task()", given, TASK_KEYS);
  checkFunction("task(): its function", fn);
  const name = nameOf(given, fn);
  const policy = policyOf(given);
  const { retries = 0, relation = shared.relation } = given;
  const maxAttempts = checkNumber("retries", retries, { min: 0, integer: true }) + 1;
  const timeout = checkOptional("timeout", given.timeout, { min: 1, max: MAX_TIMER_MS });
  const { route, telemetry, notify, voice, durable } = shared;
  const decide: AttemptSettings["decide"] = (error, task) => decideRetry(policy, error, task);
  return {
    fn,
    enqueue: { name, maxAttempts, relation: checkRelation(relation), route, telemetry, inProcess: !durable },
    attempt: { timeout, route, functionName: fn.name, telemetry, decide, notify },
    tellCut: (tag) => tellCut(voice, name, tag),
  };
}

/** The call of a task with its arguments; one that fails for good where there are none of a task's. */
export function callOf({ fn }: TaskDefinition, args: readonly unknown[] | undefined): () => unknown {
  if (args === undefined) return holdsNoTask;
  // addTask checked args against this very function's parameters
  const call = fn as (...args: readonly unknown[]) => unknown;
  return () => call(...args);
}

function holdsNoTask(): never {
  throw new NonRetryableError("what is stored holds no arguments of a task, or is damaged");
}

function nameOf({ name }: TaskOptions, fn: TaskFunction): string {
  if (name !== undefined) return checkText("name", name);
  if (fn.name !== "") return fn.name;
  throw new TaskConfigError('task(): a function without a name needs one: task({ name: "send-email" }, fn)');
}

function policyOf(options: TaskOptions): RetryPolicy {
  const { delay = 0, backoff = 1, maxDelay = Number.POSITIVE_INFINITY, jitter = 0, retryIf } = options;
  if (retryIf !== undefined) checkFunction("retryIf", retryIf);
  const unlimited = maxDelay === Number.POSITIVE_INFINITY;
  return {
    delay: checkNumber("delay", delay, { min: 0 }),
    backoff: checkNumber("backoff", backoff, { min: 1 }),
    maxDelay: unlimited ? Number.MAX_SAFE_INTEGER : checkNumber("maxDelay", maxDelay, { min: 0 }),
    jitter: checkNumber("jitter", jitter, { min: 0, max: 1 }),
    retryIf,
  };
}

function tellCut(voice: Voice, funcName: string, tag: string): void {
  const message = `a task's tag "${tag}" is too long and was cut (task "${funcName}")`;
  warn(message);
  voice.say({ kind: "tag", message }, funcName);
}
