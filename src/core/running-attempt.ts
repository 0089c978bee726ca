import { ROOT_CONTEXT, type SpanContext, type SpanOptions } from "@opentelemetry/api";
import type { TaskRoute } from "./attributes.js";
import type { TaskOrigin } from "./carrier.js";
import { CurrentTask } from "./current-task.js";
import { isTaskCancelledError, isTaskTimeoutError, TaskCancelledError, TaskTimeoutError } from "./errors.js";
import { type AttemptEnd, type EndedAttempt, finishAttempt, type Notify } from "./finish.js";
import { debug, safely } from "./guard.js";
import { LiveAttempt } from "./live-attempt.js";
import { AttemptMeasures } from "./metrics.js";
import { onAbort } from "./on-abort.js";
import type { RetryDecision } from "./retry.js";
import { OPERATION_PROCESS } from "./semconv.js";
import { NO_SPAN } from "./span.js";
import { type SpanClock, spanClock } from "./span-clock.js";
import { attemptSpanOptions, parentContext } from "./span-start.js";
import type { Telemetry } from "./telemetry.js";
import { adopt, isThenable } from "./thenable.js";
import type { TaskContext, TaskOutcome } from "./types.js";

/** One attempt that is about to run. It is read when the attempt starts, and not kept. */
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
}

/** Settings that all attempts of a task share, checked and complete. */
export interface AttemptSettings {
  /** Milliseconds. */
  readonly timeout: number | undefined;
  readonly route: TaskRoute;
  /** The task function's own name, where it has one. */
  readonly functionName: string;
  readonly telemetry: Telemetry;
  readonly decide: (error: unknown, task: TaskContext) => RetryDecision | { readonly outcome: "deferred" };
  /** Told of the end inside the task's context, and awaited, before the span ends. */
  readonly notify: Notify | undefined;
}

/** Options of starting an attempt. */
export interface StartOptions<T> {
  /** The engine's own signal: aborting it cancels the attempt. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Stores the end; called once, inside the attempt's asynchronous context, and neither throws nor rejects. A cancelled
   * attempt is stored before its hooks, so that whoever cancels waits for none; any other after its span has ended.
   */
  readonly store?: ((end: AttemptEnd<T>) => Promise<void> | undefined) | undefined;
  /** Called when hooks have run, the span has ended and the end is stored; called once, and does not throw. */
  readonly over: (end: AttemptEnd<T>) => void;
}

/** An attempt from its start to its end: its span, its limits, and the one end that counts. */
export class RunningAttempt<T> extends LiveAttempt implements EndedAttempt {
  declare readonly task: CurrentTask;
  readonly settings: AttemptSettings;
  /** Tells the span's times where hooks run before it ends, or a test has replaced the global clock. */
  readonly clock: SpanClock | undefined;
  /** Set when the attempt has settled; hooks may still be running then. */
  outcome: TaskOutcome | undefined = undefined;
  endedAt: number = Number.NaN;
  /** Seconds from due to start. */
  readonly #wait: number | undefined;
  #store: StartOptions<T>["store"];
  /** The end of a cancelled attempt, while it is being stored before its hooks. */
  #storing: Promise<void> | undefined;
  #over: StartOptions<T>["over"] | undefined;
  #unwatch: (() => void) | undefined;
  #stopWaiting: (() => void) | undefined;
  #abandoned = false;
  /**
   * One attempt stays alive, with values of the kinds that others have: V8 forgets the shape of a class that has no
   * instance left, and all code that was compiled for it, so that a process with pauses would compile it again and again.
   */
  static readonly kept: object = new RunningAttempt<void>(
    { origin: { maxAttempts: 1, context: ROOT_CONTEXT }, attempt: 0, dueAt: 0 } as AttemptRun,
    { telemetry: { isHeard: () => false, startSpan: () => NO_SPAN } } as unknown as AttemptSettings,
  );

  constructor(run: AttemptRun, settings: AttemptSettings) {
    const { origin, dueAt } = run;
    const { telemetry } = settings;
    const wait = dueAt === undefined ? undefined : Math.max(0, Date.now() - dueAt) / 1000;
    const clock = spanClock(settings.notify !== undefined);
    const parent = parentContext(origin, telemetry);
    const options = (): SpanOptions => attemptSpanOptions(run, settings, wait, clock?.start);
    const span = telemetry.startSpan(OPERATION_PROCESS, origin.name, parent, options);
    super(new CurrentTask(origin, run.attempt, run.redelivered), span, telemetry, span.within(parent));
    this.settings = settings;
    this.clock = clock;
    this.#wait = wait;
  }

  /** Calls the function. It is apart from the constructor, so that the attempt can be found while its function runs. */
  start(fn: () => T | Promise<T>, { signal, store, over }: StartOptions<T>): void {
    this.#store = store;
    this.#over = over;
    this.run(() => this.#begin(fn, signal));
  }

  /** {@link start}, where nothing is stored. Resolves to the end; never rejects. */
  settled(fn: () => T | Promise<T>, signal: AbortSignal | undefined): Promise<AttemptEnd<T>> {
    return new Promise((over) => this.start(fn, { signal, over }));
  }

  #begin(fn: () => T | Promise<T>, signal: AbortSignal | undefined): void {
    const { route, timeout } = this.settings;
    const instruments = this.telemetry.instruments();
    this.measures = instruments && new AttemptMeasures(instruments, this.task.funcName, route, this.#wait);
    const stop = signal && onAbort(signal, () => this.abort(cancelReason(signal.reason)));
    // a signal that had aborted has ended the attempt: its function is not called
    if (this.outcome !== undefined) return;
    this.#unwatch = timeout === undefined ? stop : limit(this, timeout, stop);
    call(
      fn,
      (value) => this.#returned(value),
      (error) => this.#threw(error),
    );
  }

  #returned(value: T): void {
    if (this.#isInTime(value)) this.#settle({ outcome: "success", value });
  }

  #threw(error: unknown): void {
    if (this.#isInTime(error)) this.#settle({ ...this.settings.decide(error, this.task), error });
  }

  /**
   * Ends the attempt now, whatever its function does; false if it had ended already, as the first end counts.
   * `deferred` where the same attempt will run again elsewhere.
   */
  abort(reason: unknown, outcome: "cancelled" | "deferred" = "cancelled"): boolean {
    const { task, settings } = this;
    return this.endAs(
      // a timeout is the task's own failure, which its policy judges
      () => ({ ...(isTaskTimeoutError(reason) ? settings.decide(reason, task) : { outcome }), error: reason }),
      () => CurrentTask.abort(task, reason),
    );
  }

  /** Ends the attempt now, by somebody else's word, which is asked inside of it; false if it had ended already. */
  endAs(end: () => AttemptEnd<T>, abortSignal?: () => void): boolean {
    if (this.outcome !== undefined) return false;
    this.run(() => {
      this.endedAt = performance.now();
      this.#settle(end(), abortSignal);
    });
    return true;
  }

  /** {@link abort}, and no waiting for hooks either. */
  abandon(reason: unknown, deferred: boolean): boolean {
    this.#abandoned = true;
    if (this.#stopWaiting !== undefined) this.run(this.#stopWaiting);
    return this.abort(reason, deferred ? "deferred" : "cancelled");
  }

  #isInTime(what: unknown): boolean {
    const inTime = this.outcome === undefined;
    if (!inTime) debug(`task ${this.task.funcName} went on after its attempt had ended`, what);
    else if (this.measures !== undefined || this.clock !== undefined) this.endedAt = performance.now();
    return inTime;
  }

  #settle(end: AttemptEnd<T>, abortSignal?: () => void): void {
    // the policy's own code may have ended the attempt
    if (this.outcome !== undefined) return;
    this.outcome = end.outcome;
    this.#unwatch?.();
    // the task's own listeners may do anything
    if (abortSignal !== undefined) safely("aborting a task's signal", abortSignal);
    if (end.outcome === "cancelled") {
      this.#storing = this.#store?.(end);
      this.#store = undefined;
    }
    if (this.#storing === undefined || this.#abandoned) {
      this.#tell(end);
    } else {
      this.#stopWaiting = () => this.#tell(end);
      void this.#storing.then(this.#stopWaiting);
    }
  }

  // Neither a store that gives no answer nor a hook that hangs is waited for once the attempt is abandoned.
  #tell(end: AttemptEnd<T>): void {
    if (this.ended) return;
    const told = this.settings.notify?.(end, this.task);
    if (told === undefined || this.#abandoned) {
      this.#finish(end);
    } else {
      this.#stopWaiting = () => this.#finish(end);
      void told.then(this.#stopWaiting);
    }
  }

  #finish(end: AttemptEnd<T>): void {
    if (this.ended) return;
    finishAttempt(this, end);
    const over = this.#over;
    const storing = this.#storing;
    const store = this.#store;
    // Code that goes on, and tasks enqueued from here, hold this attempt. It must not hold what belongs to its own
    // enqueuer, or a chain of tasks would never be freed: its scope, and the store and whoever waits from outside of it.
    this.close();
    this.#over = this.#store = this.#storing = this.#stopWaiting = undefined;
    const stored = store === undefined ? storing : store(end);
    if (stored === undefined) over?.(end);
    else void stored.then(() => over?.(end));
  }
}

// Starts the timeout; returns how to stop that, and what else may end the attempt from outside.
function limit(
  attempt: Pick<RunningAttempt<unknown>, "task" | "abort">,
  timeout: number,
  stop: (() => void) | undefined,
): () => void {
  const expire = (): void => {
    const message = `task ${attempt.task.funcName} took longer than its timeout of ${timeout} ms`;
    attempt.abort(new TaskTimeoutError(message));
  };
  const timer = setTimeout(expire, timeout);
  return () => {
    clearTimeout(timer);
    stop?.();
  };
}

function call<T>(fn: () => T | Promise<T>, returned: (value: T) => void, threw: (error: unknown) => void): void {
  let value: T;
  try {
    const result = fn();
    if (isThenable(result)) {
      adopt(result).then(returned, threw);
      return;
    }
    value = result;
  } catch (error) {
    threw(error);
    return;
  }
  returned(value);
}

function cancelReason(reason: unknown): unknown {
  if (isTaskCancelledError(reason) || isTaskTimeoutError(reason)) return reason;
  return new TaskCancelledError("the engine's signal was aborted", { cause: reason });
}
