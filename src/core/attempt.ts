import { arrive, type ExtractedOrigin, extract, type TaskOrigin } from "./carrier.js";
import {
  checkFunction,
  checkKeys,
  checkMethods,
  checkNumber,
  checkObject,
  checkOptional,
  checkRelation,
  checkText,
  MAX_TIMER_MS,
} from "./checks.js";
import { activeContext } from "./context.js";
import { ask, warn } from "./guard.js";
import { INFO_KEYS } from "./info-keys.js";
import { attemptsLeft } from "./retry.js";
import { type AttemptRun, type AttemptSettings, RunningAttempt } from "./running-attempt.js";
import { copyTags, NO_TAGS } from "./tags.js";
import { spanContextIn, telemetryOf } from "./telemetry.js";
import type { AttemptInfo, TaskContext } from "./types.js";

/** Settings that all attempts of a function share. */
type HandledFunction = Pick<AttemptSettings, "functionName" | "telemetry">;

const LISTENED_BY: readonly string[] = ["addEventListener", "removeEventListener"];

/**
 * Runs `fn` as one attempt of a task: inside its context, within a CONSUMER span that gets its outcome. Facts that
 * `attempt` leaves out come from its carrier; without a carrier the attempt starts a trace of its own, linked to the
 * active span. Resolves or rejects as `fn` does, untouched, or rejects with a `TaskTimeoutError` or
 * `TaskCancelledError` where `timeout` or `signal` ended the attempt first. Unit tests of code that reads
 * `getTaskContext()` may call it, too. It needs no SDK.
 *
 * @throws TaskConfigError for an illegal tag or option; `fn` is not called then.
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
export async function runAttempt<T>(attempt: AttemptInfo, fn: () => T | Promise<T>): Promise<T> {
  checkObject("runAttempt(): its first argument", attempt);
  checkFunction("runAttempt(): its second argument", fn);
  checkKeys("runAttempt()", attempt, INFO_KEYS);
  const { run, settings } = readAttempt(attempt, { functionName: fn.name, telemetry: telemetryOf(attempt) });
  const end = await new RunningAttempt<T>(run, settings).settled(fn, attempt.signal);
  if (end.outcome === "success") return end.value;
  throw end.error;
}

/**
 * Checks the facts given of an attempt, and completes them from its carrier.
 *
 * @throws TaskConfigError for a value out of range.
 */
export function readAttempt(
  info: AttemptInfo,
  shared: HandledFunction,
): { run: AttemptRun; settings: AttemptSettings } {
  const settings = settingsOf(info, shared);
  return { run: runOf(info, settings), settings };
}

function settingsOf(info: AttemptInfo, { functionName, telemetry }: HandledFunction): AttemptSettings {
  const { engine, system, destination, timeout, signal, deferIf, giveUpIf } = info;
  checkMethods("signal", "an AbortSignal", signal, LISTENED_BY);
  if (deferIf !== undefined) checkFunction("deferIf", deferIf);
  if (giveUpIf !== undefined) checkFunction("giveUpIf", giveUpIf);
  return {
    timeout: checkOptional("timeout", timeout, { min: 1, max: MAX_TIMER_MS }),
    route: { engine, system, destination },
    functionName,
    telemetry,
    decide: (error, task) => decide(info, error, task),
    notify: undefined,
  };
}

function runOf(info: AttemptInfo, settings: AttemptSettings): AttemptRun {
  const around = activeContext();
  const found = extract(info.carrier, around);
  const attempt = checkNumber("attempt", info.attempt ?? 0, { min: 0, integer: true });
  // the carrier knows when the first attempt was due; when a retry is due, only the engine knows
  const { dueAt = attempt === 0 ? found.dueAt : undefined } = info;
  return {
    origin: originOf(info, found, settings),
    attempt,
    dueAt: checkOptional("dueAt", dueAt ?? undefined, { min: 0 }),
    redelivered: info.redelivered ?? false,
    previous: info.previous,
    surrounding: spanContextIn(around),
  };
}

function originOf(info: AttemptInfo, found: ExtractedOrigin, settings: AttemptSettings): TaskOrigin {
  const { functionName } = settings;
  const facts = {
    id: info.taskId === undefined ? (found.id ?? crypto.randomUUID()) : checkText("taskId", info.taskId),
    name: nameOf(info, found, functionName),
    tags: info.tags === undefined ? (found.tags ?? NO_TAGS) : copyTags(info.tags),
    maxAttempts: checkOptional("maxAttempts", info.maxAttempts ?? found.maxAttempts, { min: 1, integer: true }),
    relation: checkRelation(info.relation ?? found.relation ?? "parent"),
  };
  return arrive(found, facts);
}

// A task whose name was damaged on the wire runs all the same.
function nameOf({ funcName, carrier }: AttemptInfo, found: ExtractedOrigin, functionName: string): string {
  if (funcName !== undefined || carrier === undefined) return checkText("funcName", funcName);
  if (found.name !== undefined) return found.name;
  warn("the carrier names no task");
  return functionName || "unnamed";
}

function decide(
  { deferIf, giveUpIf }: AttemptInfo,
  error: unknown,
  task: TaskContext,
): ReturnType<AttemptSettings["decide"]> {
  if (deferIf !== undefined && ask("deferIf", () => deferIf(error), false)) return { outcome: "deferred" };
  if (giveUpIf !== undefined && ask("giveUpIf", () => giveUpIf(error), false)) return { outcome: "failure" };
  return attemptsLeft(error, task);
}
