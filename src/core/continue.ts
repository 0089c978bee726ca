import { contextAttributes } from "./attributes.js";
import { withOwnBaggage } from "./baggage.js";
import { type ExtractedOrigin, extract, inject, injectContext } from "./carrier.js";
import { checkFunction, checkKeys, checkObject } from "./checks.js";
import { activeContext, withContext } from "./context.js";
import { CurrentTask } from "./current-task.js";
import { type AttemptEnd, finishContinued } from "./finish.js";
import { safely } from "./guard.js";
import { INFO_KEYS } from "./info-keys.js";
import { activeContextIn, attemptIn, LiveAttempt, outsideTasks, withoutTask } from "./live-attempt.js";
import { OPERATION_CONTINUE } from "./semconv.js";
import { NO_TAGS } from "./tags.js";
import { type Telemetry, telemetryOf } from "./telemetry.js";
import type { Carrier, TaskTelemetryOptions } from "./types.js";

/** Options of {@link continueAttempt}. */
export interface ContinueInfo extends Omit<TaskTelemetryOptions, "meterProvider" | "baggage"> {
  /** The carrier that `carryAttempt` returned where the attempt runs. */
  carrier: Carrier;
}

/**
 * Writes the running attempt into a carrier, for a thread or process that does a part of its work: give it to
 * {@link continueAttempt} there. Outside a task it holds the active trace and baggage alone. Never throws.
 */
export function carryAttempt(): Carrier {
  return safely("carryAttempt", carried, {});
}

function carried(): Carrier {
  const active = activeContext();
  const attempt = attemptIn(active);
  if (attempt === undefined) return injectContext(active);
  const { taskId: id, funcName: name, tags, maxAttempts, attempt: number } = attempt.task;
  const context = activeContextIn(attempt, active);
  return inject({ id, name, tags, maxAttempts, relation: "parent", attempt: number, context });
}

/**
 * Runs `fn` as a part of an attempt that runs elsewhere: `getTaskContext()` tells the same task, attempt and tags,
 * inside an INTERNAL span which `taskLog` writes to. It is not another attempt: it has no outcome and no metrics, and
 * retry and timeout stay with the side that runs the attempt, so `signal` never aborts here. Resolves or rejects as
 * `fn` does, untouched. With a carrier from outside a task, `fn` runs in that trace without a task. It needs no SDK.
 *
 * @throws TaskConfigError for a bad option; `fn` is not called then.
 */
export async function continueAttempt<T>(info: ContinueInfo, fn: () => T | Promise<T>): Promise<T> {
  checkObject("continueAttempt(): its first argument", info);
  checkFunction("continueAttempt(): its second argument", fn);
  checkKeys("continueAttempt()", info, INFO_KEYS);
  const telemetry = telemetryOf(info);
  const extracted = extract(info.carrier, activeContext());
  const found = { ...extracted, context: withoutTask(withOwnBaggage(extracted)) };
  const attempt = attemptOf(found, telemetry);
  if (attempt === undefined) return await outsideTasks(() => withContext(found.context, fn));
  const end = await new Promise<AttemptEnd<T>>((resolve) => attempt.run(() => void endOf(fn).then(resolve)));
  finishContinued(attempt, end);
  attempt.close();
  if (end.outcome === "success") return end.value;
  throw end.error;
}

function attemptOf(found: ExtractedOrigin, telemetry: Telemetry): LiveAttempt | undefined {
  const { id, name, maxAttempts, tags = NO_TAGS, attempt = 0 } = found;
  if (id === undefined || name === undefined) return undefined;
  const task = new CurrentTask({ id, name, maxAttempts, tags }, attempt);
  const span = telemetry.startSpan(OPERATION_CONTINUE, name, found.context, () => ({
    attributes: contextAttributes(task),
  }));
  return new LiveAttempt(task, span, telemetry, span.within(found.context));
}

async function endOf<T>(fn: () => T | Promise<T>): Promise<AttemptEnd<T>> {
  try {
    return { outcome: "success", value: await fn() };
  } catch (error) {
    return { outcome: "error", error };
  }
}
