import { ROOT_CONTEXT, type SpanContext } from "@opentelemetry/api";
import { readAttempt } from "./attempt.js";
import { extract, type TaskOrigin } from "./carrier.js";
import { activeContext } from "./context.js";
import { CurrentTask } from "./current-task.js";
import { TaskCancelledError } from "./errors.js";
import type { AttemptEnd } from "./finish.js";
import { quietly } from "./guard.js";
import { onAbort } from "./on-abort.js";
import { attemptsLeft } from "./retry.js";
import { type AttemptSettings, RunningAttempt } from "./running-attempt.js";
import { telemetryOf } from "./telemetry.js";
import type { AttemptInfo, Carrier, TaskContext, TaskTelemetryOptions } from "./types.js";
import { type TelemetryWishes, wishedTelemetry } from "./wished-telemetry.js";

/**
 * The fate that a library has for a job whose handler threw; `undefined` where it goes by the attempts that are left.
 */
export type Verdict = "deferred" | "retry" | "failure" | undefined;

/** A library's wish that a handler stops. */
export interface StopRequest {
  readonly signal: AbortSignal;
  /** The message of the `TaskCancelledError` that the task's signal aborts with. */
  readonly message: string;
}

/** A job that a library hands to a handler, as an attempt. */
export type HandledJob = Omit<AttemptInfo, keyof TaskTelemetryOptions | "deferIf" | "giveUpIf">;

/** A library's part in an attempt, apart from its job. */
export interface HandlerOptions {
  /** Aborts the task's signal and nothing more: the attempt ends as its handler does. Default: none. */
  readonly stop?: StopRequest | undefined;
  /**
   * Asked within the attempt once its handler has thrown, and awaited before the outcome is judged. Where it throws or
   * rejects, that is told to diag and the attempts that are left decide. Default: they always do.
   */
  readonly foresee?: ((thrown: unknown) => Promise<Verdict>) | undefined;
  /** The library's wishes for this attempt's telemetry. Default: none. */
  readonly wishes?: TelemetryWishes | undefined;
}

/** The end of a handler's attempt. */
export interface HandledEnd<T> {
  readonly end: AttemptEnd<T>;
  /** The attempt's span, for the next one to link to; no valid one where nothing made spans. */
  readonly span: SpanContext;
}

/** Runs a job as an attempt. Rejects with a `TaskConfigError` where the job is none, and never for what was thrown. */
export type HandlerRunner = <T>(
  job: HandledJob,
  handler: (task: TaskContext) => T | Promise<T>,
  options?: HandlerOptions,
) => Promise<HandledEnd<T>>;

/** Settings that all jobs of a handler share. */
type HandlerSettings = Pick<AttemptSettings, "functionName" | "telemetry">;

const NO_OPTIONS: HandlerOptions = Object.freeze({});

/**
 * Makes the function by which a library's adapter runs its jobs. `functionName` is the handler's own, which spans tell.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function handlerRunner(functionName: string, options: TaskTelemetryOptions): HandlerRunner {
  const shared = { functionName, telemetry: telemetryOf(options) };
  return (job, handler, own = NO_OPTIONS) => runHandler(job, handler, own, shared);
}

async function runHandler<T>(
  job: HandledJob,
  handler: (task: TaskContext) => T | Promise<T>,
  { stop, foresee, wishes }: HandlerOptions,
  { functionName, telemetry }: HandlerSettings,
): Promise<HandledEnd<T>> {
  const wished = wishes === undefined ? telemetry : wishedTelemetry(telemetry, wishes);
  const { run, settings } = readAttempt(job, { functionName, telemetry: wished });
  let verdict: Verdict;
  const decide: AttemptSettings["decide"] = (error, task) =>
    verdict === undefined ? attemptsLeft(error, task) : { outcome: verdict, delay: undefined };
  const attempt = new RunningAttempt<T>({ ...run, origin: fromRoot(run.origin, job.carrier) }, { ...settings, decide });
  const { task, span } = attempt;
  const handle = (): T | Promise<T> => handler(task);
  const stoppable = stop === undefined ? handle : () => passOnStop(stop, task, handle);
  const judge = async (thrown: unknown): Promise<void> => {
    verdict = await quietly("foreseeing what becomes of a job", () => foresee?.(thrown));
  };
  const call = foresee === undefined ? stoppable : () => judged(stoppable, judge);
  const end = await attempt.settled(call, job.signal);
  return { end, span: span.spanContext() };
}

// A worker runs its jobs in the context that it was made in, by a request perhaps, which is none of theirs: a key by
// which that one suppresses tracing would silence all of them.
function fromRoot(origin: TaskOrigin, carrier: Carrier | undefined): TaskOrigin {
  if (origin.context === ROOT_CONTEXT || activeContext() === ROOT_CONTEXT) return origin;
  return { ...origin, context: extract(carrier, ROOT_CONTEXT).context };
}

async function passOnStop<T>(
  { signal, message }: StopRequest,
  task: CurrentTask,
  handle: () => T | Promise<T>,
): Promise<T> {
  const stopPassing = onAbort(signal, () => {
    CurrentTask.abort(task, new TaskCancelledError(message, { cause: signal.reason }));
  });
  try {
    return await handle();
  } finally {
    stopPassing();
  }
}

async function judged<T>(handle: () => T | Promise<T>, judge: (thrown: unknown) => Promise<void>): Promise<T> {
  try {
    return await handle();
  } catch (error) {
    await judge(error);
    throw error;
  }
}
