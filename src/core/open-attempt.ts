import { readAttempt } from "./attempt.js";
import { checkKeys, checkObject, show } from "./checks.js";
import { activeContext } from "./context.js";
import { TaskConfigError } from "./errors.js";
import { INFO_KEYS } from "./info-keys.js";
import { insideAttempt } from "./live-attempt.js";
import { RunningAttempt } from "./running-attempt.js";
import { telemetryOf } from "./telemetry.js";
import type { AttemptInfo, TaskContext, TaskOutcome } from "./types.js";

/** An attempt that was opened in one place, and ends in another. */
export interface OpenAttempt {
  /** What `getTaskContext()` tells inside of it. */
  readonly context: TaskContext;
  /** Calls `fn` inside the attempt, as often as there is a part of its work. Returns and throws what `fn` does. */
  run<T>(fn: () => T): T;
  /**
   * Ends the attempt, and its span. `error` is what a failed attempt is said to have failed with. What comes after the
   * first end changes nothing; so it is after `timeout` or `signal` have ended the attempt.
   *
   * @throws TaskConfigError for an outcome that is none.
   */
  end(outcome: TaskOutcome, error?: unknown): void;
}

const OUTCOMES: readonly unknown[] = ["success", "retry", "failure", "error", "cancelled", "deferred"];

/**
 * Starts an attempt whose work is not one function, such as that of a job which was fetched by hand and will be settled
 * by its id: `run` calls its parts, `end` ends it. All else is as with {@link runAttempt}. One that is never ended has no
 * span, but for its timeout. It needs no SDK.
 *
 * @throws TaskConfigError for an illegal tag or option.
 */
export function openAttempt(info: AttemptInfo): OpenAttempt {
  checkObject("openAttempt(): its first argument", info);
  checkKeys("openAttempt()", info, INFO_KEYS);
  const { run, settings } = readAttempt(info, { functionName: "", telemetry: telemetryOf(info) });
  const attempt = new RunningAttempt<unknown>(run, settings);
  let context = activeContext();
  const work = (): Promise<never> => {
    context = activeContext();
    return new Promise(() => {});
  };
  attempt.start(work, { signal: info.signal, over: () => {} });
  return {
    context: attempt.task,
    run: (fn) => insideAttempt({ attempt, context }, fn),
    end(outcome, error) {
      if (!OUTCOMES.includes(outcome)) {
        throw new TaskConfigError(`end(): expected one of ${OUTCOMES.join(", ")}, received ${show(outcome)}`);
      }
      if (outcome === "success") attempt.endAs(() => ({ outcome, value: undefined }));
      else attempt.endAs(() => ({ outcome, error }));
    },
  };
}
