import { AsyncResource } from "node:async_hooks";
import { type Context, context, createContextKey, ROOT_CONTEXT, type Span } from "@opentelemetry/api";
import { warn } from "./guard.js";
import type { AttemptMeasures } from "./metrics.js";
import { registeredApi, sharedSlot } from "./slot.js";
import type { Telemetry } from "./telemetry.js";
import type { TaskContext } from "./types.js";

// Registered symbol, so that copies of the package share it; versioned with ActiveAttempt's shape.
const ATTEMPT = createContextKey("otel-taskflow.v1.attempt");
const { fallback } = sharedSlot();

/** One attempt while its code runs, and after that for code which outlives it. */
export interface ActiveAttempt {
  readonly context: TaskContext;
  readonly span: Span;
  readonly telemetry: Telemetry;
  /** `undefined` where nothing is measured. */
  readonly measures: AttemptMeasures | undefined;
  /** The span has ended: nothing may be added to it. */
  ended: boolean;
  /** Lines `taskLog` put on the span, and lines it left out. */
  logged: number;
  dropped: number;
}

/**
 * The task that the calling code runs in, at any call depth and across every asynchronous boundary;
 * `undefined` outside a task. Never throws. Works without an OpenTelemetry SDK.
 */
export function getTaskContext(): TaskContext | undefined {
  try {
    return attemptIn(context.active())?.context;
  } catch {
    return undefined;
  }
}

/** The attempt a context belongs to; without a context manager, the one the calling code runs in. */
export function attemptIn(active: Context): ActiveAttempt | undefined {
  return (active.getValue(ATTEMPT) ?? fallback.getStore()) as ActiveAttempt | undefined;
}

/** Calls `fn` outside every task and trace. */
export function outsideTasks<T>(fn: () => T): T {
  return context.with(ROOT_CONTEXT, () => fallback.run(undefined, fn));
}

/**
 * Where an attempt's code runs: carried by OpenTelemetry's context manager, by the fallback where there is none. An
 * asynchronous resource of its own, because what code sets by `AsyncLocalStorage.enterWith` stays in the resource it
 * runs in, and must not reach the caller or the next attempt.
 */
export class AttemptScope {
  readonly #resource = new AsyncResource("otel-taskflow.attempt", { requireManualDestroy: true });
  readonly #base: Context;
  readonly #attempt: ActiveAttempt;

  constructor(base: Context, attempt: ActiveAttempt) {
    this.#base = base;
    this.#attempt = attempt;
  }

  /** Calls `fn` inside the attempt, from wherever this is called. */
  run(fn: () => void): void {
    if (registeredApi()?.context === undefined) {
      this.#resource.runInAsyncScope(runInFallback, undefined, this.#attempt, fn);
    } else {
      this.#resource.runInAsyncScope(() => this.#runByManager(fn));
    }
  }

  /** Nothing will be run any more: tells those who keep state by asynchronous resource. */
  close(): void {
    this.#resource.emitDestroy();
  }

  #runByManager(fn: () => void): void {
    const attempt = this.#attempt;
    let entered = false;
    try {
      context.with(this.#base.setValue(ATTEMPT, attempt), () => {
        entered = true;
        const carried = context.active().getValue(ATTEMPT) === attempt;
        runInFallback(carried ? undefined : attempt, fn);
      });
    } catch (error) {
      warn("the context manager failed", error);
      if (!entered) runInFallback(attempt, fn);
    }
  }
}

function runInFallback(attempt: ActiveAttempt | undefined, fn: () => void): void {
  if (fallback.getStore() === attempt) fn();
  else fallback.run(attempt, fn);
}
