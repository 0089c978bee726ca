import { AsyncResource } from "node:async_hooks";
import { type Context, context, createContextKey, ROOT_CONTEXT, type Span } from "@opentelemetry/api";
import { warn } from "./guard.js";
import type { AttemptMeasures } from "./metrics.js";
import { registeredApi, sharedSlot } from "./slot.js";
import type { Telemetry } from "./telemetry.js";
import type { TaskContext } from "./types.js";

// Registered symbol, so that copies of the package share it; versioned with ActiveAttempt's shape.
const ATTEMPT = createContextKey("otel-taskflow.v1.attempt");
const PROBE = createContextKey("otel-taskflow.probe");
/** The key under which OpenTelemetry's SDKs look whether to record. */
export const SUPPRESS_TRACING: symbol = createContextKey("OpenTelemetry SDK Context Key SUPPRESS_TRACING");
/** Classes whose instances are Contexts: the API's own, and those found to be. */
const soundKinds = new WeakSet<object>([Object.getPrototypeOf(ROOT_CONTEXT)]);
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
  return currentAttempt()?.context;
}

/** The attempt that the calling code runs in. Never throws. */
export function currentAttempt(): ActiveAttempt | undefined {
  return carriedAttempt() ?? (fallback.getStore() as ActiveAttempt | undefined);
}

/** The attempt a context belongs to; without a context manager, the one the calling code runs in. */
export function attemptIn(active: Context): ActiveAttempt | undefined {
  return (active.getValue(ATTEMPT) ?? fallback.getStore()) as ActiveAttempt | undefined;
}

/** The active context; the root context where the context manager fails or gives no Context. Never throws. */
export function activeContext(): Context {
  try {
    const active = context.active();
    if (isContext(active)) return active;
    warn("the context manager gave no Context");
  } catch (error) {
    warn("the context manager failed", error);
  }
  return ROOT_CONTEXT;
}

/**
 * Calls `fn` exactly once inside a context, whatever the context manager does: one that fails, calls late or not at all
 * leaves `fn` outside of it. Returns and throws what `fn` does.
 */
export function withContext<T>(within: Context, fn: () => T): T {
  const call: { ended?: () => T } = {};
  callOnce(within, () => {
    call.ended = endOf(fn);
  });
  return (call.ended ?? fn)();
}

/** Whether a value behaves as a Context does. May throw what its methods throw. */
export function isContext(value: unknown): value is Context {
  if (typeof value !== "object" || value === null) return false;
  const kind: object | null = Object.getPrototypeOf(value);
  if (kind !== null && soundKinds.has(kind)) return true;
  const changed = (value as Context).setValue(PROBE, PROBE);
  const kept = changed.getValue(PROBE) === PROBE && changed.deleteValue(PROBE).getValue(PROBE) === undefined;
  // another copy of the API has a class of its own; a plain object is only itself
  if (kept && kind !== null && kind !== Object.prototype) soundKinds.add(kind);
  return kept;
}

/** Whether code in this context wants nothing recorded. */
export function isSuppressed(context: Context): boolean {
  return context.getValue(SUPPRESS_TRACING) === true;
}

/** Calls `fn` outside every task and trace. */
export function outsideTasks<T>(fn: () => T): T {
  return withContext(ROOT_CONTEXT, () => fallback.run(undefined, fn));
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

  /** Calls `fn`, which does not throw, inside the attempt, from wherever this is called. */
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
    callOnce(this.#base.setValue(ATTEMPT, attempt), () => {
      runInFallback(carriedAttempt() === attempt ? undefined : attempt, fn);
    });
  }
}

// `fn` does not throw: what comes out is the context manager's.
function callOnce(within: Context, fn: () => void): void {
  let called = false;
  const once = (): void => {
    if (called) return;
    called = true;
    fn();
  };
  try {
    context.with(within, once);
  } catch (error) {
    warn("the context manager failed", error);
  }
  once();
}

function endOf<T>(fn: () => T): () => T {
  try {
    const value = fn();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

// A context manager that fails carries no attempt.
function carriedAttempt(): ActiveAttempt | undefined {
  try {
    return context.active().getValue(ATTEMPT) as ActiveAttempt | undefined;
  } catch {
    return undefined;
  }
}

function runInFallback(attempt: ActiveAttempt | undefined, fn: () => void): void {
  if (fallback.getStore() === attempt) fn();
  else fallback.run(attempt, fn);
}
