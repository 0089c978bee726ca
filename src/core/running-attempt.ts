import type { HrTime, Span, SpanContext, SpanOptions } from "@opentelemetry/api";
import { attemptSpanOptions, parentContext } from "./attempt-span.js";
import type { TaskRoute } from "./attributes.js";
import type { TaskOrigin } from "./carrier.js";
import { AttemptScope } from "./context.js";
import { CurrentTask } from "./current-task.js";
import { isTaskCancelledError, isTaskTimeoutError, TaskCancelledError, TaskTimeoutError } from "./errors.js";
import { type AttemptResult, type EndedAttempt, finishAttempt } from "./finish.js";
import { debug, quietly, safely } from "./guard.js";
import { AttemptMeasures } from "./metrics.js";
import { onAbort } from "./on-abort.js";
import type { RetryDecision } from "./retry.js";
import type { Rostered } from "./roster.js";
import { OPERATION_PROCESS } from "./semconv.js";
import { type SpanClock, spanClock } from "./span-clock.js";
import { contextWithSpan, isSpan, type Telemetry } from "./telemetry.js";
import { adopt, isThenable } from "./thenable.js";
import type { TaskContext, TaskOutcome } from "./types.js";

/** One attempt about to run: of which task, and which. Read when it starts, and not kept. */
export interface AttemptRun {
  readonly origin: TaskOrigin;
  /** Zero-based. */
  readonly attempt: number;
  /** Epoch milliseconds; `undefined` where the engine cannot tell. */
  readonly dueAt: number | undefined;
  readonly redelivered: boolean;
  /** The span of attempt − 1. */
  readonly previous: SpanContext | undefined;
  /** A span that was active where the task arrived: another instrumentation's, in a trace that may be another. */
  readonly surrounding?: SpanContext | undefined;
  /** The engine's own signal, where it has one. */
  readonly signal: AbortSignal | undefined;
}

/** What all attempts of a task share, checked and complete. */
export interface AttemptSettings {
  /** Milliseconds. */
  readonly timeout: number | undefined;
  readonly route: TaskRoute;
  /** The task function's own name, where it has one. */
  readonly functionName: string;
  readonly telemetry: Telemetry;
  readonly decide: (error: unknown, context: TaskContext) => RetryDecision | { readonly outcome: "deferred" };
  /** Told of the end inside the task's context, and awaited, before the span ends. */
  readonly notify: ((result: AttemptResult<unknown>, context: TaskContext) => unknown) | undefined;
}

type Ending<T> =
  | { readonly kind: "returned"; readonly value: T }
  | { readonly kind: "thrown"; readonly error: unknown }
  | { readonly kind: "aborted"; readonly reason: unknown; readonly deferred?: boolean };

/** An attempt from its start to its end: the span, the task's context, and the one settlement that counts. */
export class RunningAttempt<T, R> implements EndedAttempt, Rostered {
  readonly context: CurrentTask;
  readonly span: Span;
  readonly telemetry: Telemetry;
  measures: AttemptMeasures | undefined;
  place = -1;
  ended = false;
  logged = 0;
  dropped = 0;
  endedAt = 0;
  readonly #settings: AttemptSettings;
  readonly #conclude: (result: AttemptResult<T>) => R | Promise<R>;
  /** Seconds from due to start. */
  readonly #wait: number | undefined;
  /** Where hooks run between the attempt's end and its span's, or a test has put the clock. */
  readonly #clock: SpanClock | undefined;
  #scope: AttemptScope | undefined;
  /** Set when the attempt has settled; hooks may still be running then. */
  outcome: TaskOutcome | undefined;
  #resolve: ((conclusion: R | Promise<R>) => void) | undefined;
  #unwatch: (() => void) | undefined;
  #stopWaiting: (() => void) | undefined;
  #abandoned = false;

  constructor(run: AttemptRun, settings: AttemptSettings, conclude: (result: AttemptResult<T>) => R | Promise<R>) {
    const { origin, dueAt } = run;
    this.#settings = settings;
    this.#conclude = conclude;
    this.telemetry = settings.telemetry;
    this.context = new CurrentTask(origin, run.attempt, run.redelivered);
    const wait = dueAt === undefined ? undefined : Math.max(0, Date.now() - dueAt) / 1000;
    this.#wait = wait;
    const parent = parentContext(origin);
    const clock = spanClock(settings.notify !== undefined);
    this.#clock = clock;
    const options = (): SpanOptions => attemptSpanOptions(run, settings, wait, clock?.start);
    this.span = this.telemetry.startSpan(OPERATION_PROCESS, origin.name, parent, options);
    this.#scope = new AttemptScope(contextWithSpan(parent, this.span), this);
  }

  /**
   * Calls the function; resolves to what `conclude` made of the result, once hooks have run and the span has ended.
   * Rejects only as that does. Apart from the constructor, so that the attempt can be found while its function runs.
   */
  start(fn: () => T | Promise<T>, signal: AbortSignal | undefined): Promise<R> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#scope?.run(() => this.#begin(fn, signal));
    });
  }

  get id(): string {
    return this.context.taskId;
  }

  get route(): TaskRoute {
    return this.#settings.route;
  }

  get endTime(): HrTime | undefined {
    return this.#clock?.at(this.endedAt);
  }

  /** Ends the attempt now, whatever its function does; false if it had ended already. First settlement wins. */
  abort(reason: unknown): boolean {
    return this.#end({ kind: "aborted", reason });
  }

  /** {@link abort}, and no waiting for hooks either; `deferred` where the same attempt will run again elsewhere. */
  abandon(reason: unknown, deferred: boolean): boolean {
    this.#abandoned = true;
    this.#stopWaiting?.();
    return this.#end({ kind: "aborted", reason, deferred });
  }

  #end(ending: Ending<T>): boolean {
    if (this.outcome !== undefined) return false;
    this.#scope?.run(() => this.#settle(ending));
    return true;
  }

  #begin(fn: () => T | Promise<T>, signal: AbortSignal | undefined): void {
    const instruments = this.telemetry.instruments();
    this.measures =
      instruments && new AttemptMeasures(instruments, this.context.funcName, this.#settings.route, this.#wait);
    const stop = signal && onAbort(signal, () => this.abort(cancelReason(signal.reason)));
    // a signal that had aborted has ended the attempt: its function is not called
    if (this.outcome !== undefined) return;
    this.#unwatch = this.#limit(stop);
    call(fn, (ending) => this.#settle(ending));
  }

  #settle(ending: Ending<T>): void {
    if (this.outcome !== undefined) {
      debug(`task ${this.context.funcName} went on after its attempt had ended`, ending);
      return;
    }
    if (this.measures !== undefined || (this.#clock !== undefined && isSpan(this.span)))
      this.endedAt = performance.now();
    const result = this.#judge(ending);
    this.outcome = result.outcome;
    this.#unwatch?.();
    if (ending.kind === "aborted") this.#abortSignal(ending.reason);
    const { notify } = this.#settings;
    if (notify === undefined) this.#finish(result);
    else this.#notify(notify, result).then(() => this.#finish(result));
  }

  #finish(result: AttemptResult<T>): void {
    finishAttempt(this, result);
    const resolve = this.#resolve;
    // Code that runs on, and tasks enqueued from here, hold this attempt. It must not hold what belongs to its own
    // enqueuer, or a chain of tasks would never be freed: the scope, and the promise made outside of it.
    this.#scope?.close();
    this.#scope = undefined;
    this.#resolve = undefined;
    resolve?.(this.#conclude(result));
  }

  // Starts the timeout; returns how to stop that, and what else may end the attempt from outside.
  #limit(stop: (() => void) | undefined): (() => void) | undefined {
    const { timeout } = this.#settings;
    if (timeout === undefined) return stop;
    const timer = setTimeout(() => this.abort(timeoutError(this.context, timeout)), timeout);
    return () => {
      clearTimeout(timer);
      stop?.();
    };
  }

  // The task's own listeners may do anything.
  #abortSignal(reason: unknown): void {
    safely("aborting a task's signal", () => CurrentTask.abort(this.context, reason), undefined);
  }

  #judge(ending: Ending<T>): AttemptResult<T> {
    if (ending.kind === "returned") return { outcome: "success", value: ending.value };
    const error = ending.kind === "thrown" ? ending.error : ending.reason;
    if (ending.kind === "aborted" && !isTaskTimeoutError(error)) {
      return { outcome: ending.deferred === true ? "deferred" : "cancelled", error };
    }
    return { ...this.#settings.decide(error, this.context), error };
  }

  // A hook that throws changes nothing; one that hangs is not waited for once the attempt is abandoned.
  #notify(notify: NonNullable<AttemptSettings["notify"]>, result: AttemptResult<T>): Promise<void> {
    return new Promise((resolve) => {
      this.#stopWaiting = resolve;
      const told = quietly(`a hook of task ${this.context.funcName}`, () => notify(result, this.context), undefined);
      void told.then(() => resolve());
      if (this.#abandoned) resolve();
    });
  }
}

function call<T>(fn: () => T | Promise<T>, settle: (ending: Ending<T>) => void): void {
  let ending: Ending<T>;
  try {
    const returned = fn();
    if (isThenable(returned)) {
      adopt(returned).then(
        (value) => settle({ kind: "returned", value }),
        (error: unknown) => settle({ kind: "thrown", error }),
      );
      return;
    }
    ending = { kind: "returned", value: returned };
  } catch (error) {
    ending = { kind: "thrown", error };
  }
  settle(ending);
}

function timeoutError(task: TaskContext, timeout: number): TaskTimeoutError {
  return new TaskTimeoutError(`task ${task.funcName} took longer than its timeout of ${timeout} ms`);
}

function cancelReason(reason: unknown): unknown {
  if (isTaskCancelledError(reason) || isTaskTimeoutError(reason)) return reason;
  return new TaskCancelledError("the engine's signal was aborted", { cause: reason });
}
