import type { TaskRoute } from "./attributes.js";
import type { TaskOrigin } from "./carrier.js";
import { activeContext, endOf } from "./context.js";
import { CurrentTask } from "./current-task.js";
import { currentAttempt, type JobAttempt, LiveAttempt } from "./live-attempt.js";
import type { RunningAttempt } from "./running-attempt.js";
import { shared } from "./slot.js";
import { NO_SPAN } from "./span.js";
import type { Telemetry } from "./telemetry.js";

/**
 * Leads from the very object that stands for a job to the attempt that runs it, or the last one that did, whichever copy
 * of this package runs it. It is a property that nobody finds who does not look for it: a WeakMap would cost more than
 * the rest of an attempt, in garbage collection.
 */
const ATTEMPT: unique symbol = Symbol.for("otel-taskflow.attempt.2");
/** The same for objects that take no property. */
const attempts = shared("attempts.2", () => new WeakMap<object, JobAttempt>());

/** Notes that the attempt which the calling code runs in is one of this job. */
export function noteAttempt(job: unknown): void {
  const attempt = currentAttempt();
  if (attempt === undefined || !isObject(job)) return;
  const value = { attempt, context: activeContext() };
  if (!takes(job, value)) attempts.set(job, value);
}

/** The attempt of a job that runs in this process, or has ended in it. */
export function attemptOfJob(job: unknown): JobAttempt | undefined {
  if (!isObject(job)) return undefined;
  // only this file writes under the symbol, but a mock may have an answer to any question
  const noted = (job as { [ATTEMPT]?: JobAttempt })[ATTEMPT];
  return isObject(noted) && isObject(noted.attempt) ? noted : attempts.get(job);
}

/**
 * The attempt of a job that runs right now: by the job's very object, or where another object stands for the job, by the
 * attempt that the calling code runs in.
 */
export function runningAttemptOf(job: unknown, id: string | undefined, route: TaskRoute): JobAttempt | undefined {
  const noted = attemptOfJob(job);
  if (noted !== undefined && !noted.attempt.ended) return noted;
  const attempt = currentAttempt();
  if (attempt === undefined || attempt.ended || attempt.task.taskId !== id) return undefined;
  // the part of an attempt that goes on elsewhere has no settings
  const { settings } = attempt as { readonly settings?: RunningAttempt<unknown>["settings"] };
  const isSame = settings?.route.engine === route.engine && settings?.route.destination === route.destination;
  return isSame ? { attempt, context: activeContext() } : undefined;
}

/**
 * Calls `fn` in the context of a task no attempt of which is known: `getTaskContext()` tells the task, the active span
 * is the one that enqueued it, and lines of `taskLog` land on no span. Returns and throws what `fn` does.
 */
export function insideTask<T>(origin: TaskOrigin, attempt: number, telemetry: Telemetry, fn: () => T): T {
  const live = new LiveAttempt(new CurrentTask(origin, attempt), NO_SPAN, telemetry, origin.context);
  live.markEnded();
  let end = fn;
  live.run(() => {
    end = endOf(fn);
  });
  live.close();
  return end();
}

function takes(job: object, value: JobAttempt): boolean {
  try {
    return Reflect.defineProperty(job, ATTEMPT, { value, configurable: true });
  } catch {
    return false;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
