import {
  type Attributes,
  type Context,
  isSpanContextValid,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  trace,
} from "@opentelemetry/api";
import { attemptAttributes, type TaskRoute } from "./attributes.js";
import type { TaskOrigin } from "./carrier.js";
import { type ActiveAttempt, AttemptScope } from "./context.js";
import { CurrentTask } from "./current-task.js";
import { isTaskCancelledError, isTaskTimeoutError, TaskCancelledError, TaskTimeoutError } from "./errors.js";
import { type AttemptResult, finishAttempt } from "./finish.js";
import { debug, quietly } from "./guard.js";
import { AttemptMeasures } from "./metrics.js";
import type { RetryDecision } from "./retry.js";
import type { Rostered } from "./roster.js";
import {
  ATTR_CODE_FUNCTION_NAME,
  ATTR_TASK_ATTEMPT,
  ATTR_TASK_LINK,
  ATTR_TASK_MAX_ATTEMPTS,
  ATTR_TASK_REDELIVERED,
  ATTR_TASK_WAIT_DURATION,
  LINK_ENQUEUE,
  LINK_PREVIOUS_ATTEMPT,
  LINK_SURROUNDING,
  OPERATION_PROCESS,
} from "./semconv.js";
import { contextWithSpan, isSpan, spanContextIn, type Telemetry } from "./telemetry.js";
import { isThenable } from "./thenable.js";
import type { TaskContext, TaskOutcome, TaskRelation } from "./types.js";

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
export class RunningAttempt<T, R> implements ActiveAttempt, Rostered {
  readonly context: CurrentTask;
  readonly span: Span;
  readonly telemetry: Telemetry;
  measures: AttemptMeasures | undefined;
  place = -1;
  ended = false;
  logged = 0;
  dropped = 0;
  readonly #settings: AttemptSettings;
  readonly #conclude: (result: AttemptResult<T>) => R | Promise<R>;
  /** Seconds from due to start. */
  readonly #wait: number | undefined;
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
    const options = (): SpanOptions => spanOptions(run, settings, wait);
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
    if (signal?.aborted) {
      this.#settle({ kind: "aborted", reason: cancelReason(signal.reason) });
      return;
    }
    this.#unwatch = this.#watch(signal);
    call(fn, (ending) => this.#settle(ending));
  }

  #settle(ending: Ending<T>): void {
    if (this.outcome !== undefined) {
      debug(`task ${this.context.funcName} went on after its attempt had ended`, ending);
      return;
    }
    const endedAt = this.measures !== undefined || isSpan(this.span) ? performance.now() : 0;
    const result = this.#judge(ending);
    this.outcome = result.outcome;
    this.#unwatch?.();
    if (ending.kind === "aborted") CurrentTask.abort(this.context, ending.reason);
    const { notify } = this.#settings;
    if (notify === undefined) this.#finish(result, endedAt);
    else this.#notify(notify, result).then(() => this.#finish(result, endedAt));
  }

  #finish(result: AttemptResult<T>, endedAt: number): void {
    finishAttempt(this, result, endedAt);
    const resolve = this.#resolve;
    // Code that runs on, and tasks enqueued from here, hold this attempt. It must not hold what belongs to its own
    // enqueuer, or a chain of tasks would never be freed: the scope, and the promise made outside of it.
    this.#scope?.close();
    this.#scope = undefined;
    this.#resolve = undefined;
    resolve?.(this.#conclude(result));
  }

  // Starts what may abort the attempt from outside; returns how to stop it.
  #watch(signal: AbortSignal | undefined): (() => void) | undefined {
    const { timeout } = this.#settings;
    if (timeout === undefined && signal === undefined) return undefined;
    const timer =
      timeout === undefined ? undefined : setTimeout(() => this.abort(timeoutError(this.context, timeout)), timeout);
    const onAbort = (): boolean => this.abort(cancelReason(signal?.reason));
    signal?.addEventListener("abort", onAbort, { once: true });
    return () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
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
      Promise.resolve(returned).then(
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

// The context an attempt's span starts in: under the enqueue span, or a new trace.
function parentContext({ relation, context }: TaskOrigin): Context {
  return relation === "parent" || trace.getSpan(context) === undefined ? context : trace.deleteSpan(context);
}

function links({ origin, previous, surrounding }: AttemptRun): Link[] {
  if (origin.relation !== "link" && previous === undefined && surrounding === undefined) return [];
  const enqueued = spanContextIn(origin.context);
  return [
    ...linkTo(origin.relation === "link" ? enqueued : undefined, LINK_ENQUEUE),
    ...linkTo(previous, LINK_PREVIOUS_ATTEMPT),
    ...linkTo(isElsewhere(surrounding, origin.relation, enqueued) ? surrounding : undefined, LINK_SURROUNDING),
  ];
}

// Within the attempt's own trace, a link to what surrounds it says nothing.
function isElsewhere(
  surrounding: SpanContext | undefined,
  relation: TaskRelation,
  enqueued: SpanContext | undefined,
): boolean {
  return relation === "parent" ? surrounding?.traceId !== enqueued?.traceId : surrounding?.spanId !== enqueued?.spanId;
}

function linkTo(context: SpanContext | undefined, kind: string): Link[] {
  if (context === undefined || !isSpanContextValid(context)) return [];
  return [{ context, attributes: { [ATTR_TASK_LINK]: kind } }];
}

function spanOptions(run: AttemptRun, settings: AttemptSettings, wait: number | undefined): SpanOptions {
  return { kind: SpanKind.CONSUMER, attributes: spanAttributes(run, settings, wait), links: links(run) };
}

function spanAttributes(
  { origin, attempt, redelivered }: AttemptRun,
  { route, functionName }: AttemptSettings,
  wait: number | undefined,
): Attributes {
  const attributes = attemptAttributes(origin, route);
  attributes[ATTR_TASK_ATTEMPT] = attempt;
  if (origin.maxAttempts !== undefined) attributes[ATTR_TASK_MAX_ATTEMPTS] = origin.maxAttempts;
  if (redelivered) attributes[ATTR_TASK_REDELIVERED] = true;
  if (wait !== undefined) attributes[ATTR_TASK_WAIT_DURATION] = wait;
  if (functionName !== "") attributes[ATTR_CODE_FUNCTION_NAME] = functionName;
  return attributes;
}
