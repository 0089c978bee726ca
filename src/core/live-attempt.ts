import { AsyncResource } from "node:async_hooks";
import { type Context, createContextKey, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { activeValue, insideOnce, withContext } from "./context.js";
import { safely } from "./guard.js";
import type { AttemptMeasures } from "./metrics.js";
import { registeredApi, sharedSlot } from "./slot.js";
import type { OwnSpan } from "./span.js";
import type { Telemetry } from "./telemetry.js";
import type { TaskContext } from "./types.js";

// Copies of the package share this key, as it is a registered symbol: its version is that of LiveAttempt's shape.
const ATTEMPT = createContextKey("otel-taskflow.v2.attempt");
const { fallback } = sharedSlot();

/** An attempt, and the context that its code was called in. */
export interface JobAttempt {
  readonly attempt: LiveAttempt;
  readonly context: Context;
}

/**
 * The task that the calling code runs in, at any call depth and across every asynchronous boundary; given a `context`,
 * the task that this one belongs to, as a span processor, a sampler or a log processor is given one. `undefined` outside
 * a task. Never throws. Works without an OpenTelemetry SDK.
 */
export function getTaskContext(context?: Context): TaskContext | undefined {
  return context === undefined ? currentAttempt()?.task : safely("reading a context", () => attemptOf(context)?.task);
}

/** The attempt that the calling code runs in. Never throws. */
export function currentAttempt(): LiveAttempt | undefined {
  // only this file writes into the fallback, and under the key
  return (activeValue(ATTEMPT) as LiveAttempt | undefined) ?? (fallback.getStore() as LiveAttempt | undefined);
}

/** The attempt a context belongs to; without a context manager, the one the calling code runs in. */
export function attemptIn(active: Context): LiveAttempt | undefined {
  return attemptOf(active) ?? (fallback.getStore() as LiveAttempt | undefined);
}

function attemptOf(context: Context): LiveAttempt | undefined {
  // only this file writes under the key
  return context.getValue(ATTEMPT) as LiveAttempt | undefined;
}

/** The same context outside of any task. */
export function withoutTask(context: Context): Context {
  return attemptOf(context) ? context.deleteValue(ATTEMPT) : context;
}

/**
 * The active context as code of `attempt` sees it: with the attempt's span in it where no context manager carries that.
 */
export function activeContextIn(attempt: LiveAttempt | undefined, active: Context): Context {
  return attempt !== undefined && trace.getSpan(active) === undefined ? attempt.span.within(active) : active;
}

/** Calls `fn` inside an attempt that runs or has ended, and outside of any other. Returns and throws what `fn` does. */
export function insideAttempt<T>({ attempt, context }: JobAttempt, fn: () => T): T {
  if (currentAttempt() === attempt) return fn();
  return withContext(context, () => (currentAttempt() === attempt ? fn() : fallback.run(attempt, fn)));
}

/** Calls `fn` outside every task and trace. */
export function outsideTasks<T>(fn: () => T): T {
  return withContext(ROOT_CONTEXT, () => fallback.run(undefined, fn));
}

/**
 * An attempt of a task while its code runs, and after that for code which outlives it. Its code is carried by
 * OpenTelemetry's context manager, or by the fallback where there is none, and runs in an asynchronous resource of its
 * own: what code sets by `AsyncLocalStorage.enterWith` stays in the resource it runs in, and must reach neither the
 * caller nor the next attempt.
 */
export class LiveAttempt {
  readonly task: TaskContext;
  readonly span: OwnSpan;
  readonly telemetry: Telemetry;
  /** `undefined` where nothing is measured. */
  measures: AttemptMeasures | undefined = undefined;
  /** Lines that `taskLog` left out, because the span holds enough of them. */
  dropped = 0;
  #resource: AsyncResource | undefined = new AsyncResource("otel-taskflow.attempt", { requireManualDestroy: true });
  #within: Context | undefined;
  #ended = false;
  #lines = 0;

  /** Its code will run in the context `within`. Positional, as one is made for every attempt. */
  constructor(task: TaskContext, span: OwnSpan, telemetry: Telemetry, within: Context) {
    this.task = task;
    this.span = span;
    this.telemetry = telemetry;
    this.#within = within;
  }

  /** The span has ended, or is about to: nothing may be added to it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Counts a line that is about to be put on the span; false where it holds `most` lines already. */
  takeLine(most: number): boolean {
    const room = this.#lines < most;
    if (room) this.#lines += 1;
    else this.dropped += 1;
    return room;
  }

  /** From now on nothing is added to the span, which is about to end. */
  markEnded(): void {
    this.#ended = true;
  }

  /** Calls `fn`, which does not throw, inside the attempt, from wherever this is called. */
  run(fn: () => void): void {
    this.#resource?.runInAsyncScope(this.#enter, this, fn);
  }

  /**
   * Nothing will be run any more. Tells those who keep state by asynchronous resource, and lets go of the enqueuer:
   * code that goes on, and the tasks it enqueues, hold this attempt, and a chain of tasks would never be freed.
   */
  close(): void {
    this.#resource?.emitDestroy();
    this.#resource = undefined;
    this.#within = undefined;
  }

  #enter(fn: () => void): void {
    const within = this.#within;
    if (within === undefined || registeredApi()?.context === undefined) {
      runInFallback(this, fn);
    } else {
      insideOnce(within.setValue(ATTEMPT, this), () => {
        runInFallback(activeValue(ATTEMPT) === this ? undefined : this, fn);
      });
    }
  }
}

function runInFallback(attempt: LiveAttempt | undefined, fn: () => void): void {
  if (fallback.getStore() === attempt) fn();
  else fallback.run(attempt, fn);
}
