import { type Context, context, createContextKey, ROOT_CONTEXT } from "@opentelemetry/api";
import { warn } from "./guard.js";

const PROBE = createContextKey("otel-taskflow.probe");
/** The key under which OpenTelemetry's SDKs look whether to record. */
export const SUPPRESS_TRACING: symbol = createContextKey("OpenTelemetry SDK Context Key SUPPRESS_TRACING");
/** Classes whose instances are Contexts: the API's own, and those found to be. */
const soundKinds = new WeakSet<object>([Object.getPrototypeOf(ROOT_CONTEXT)]);

/** What the active context holds under a key; `undefined` where the context manager fails. Never throws. */
export function activeValue(key: symbol): unknown {
  try {
    return context.active().getValue(key);
  } catch {
    return undefined;
  }
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
  insideOnce(within, () => {
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

/** {@link withContext} for a function that returns nothing and does not throw: what comes out is the manager's. */
export function insideOnce(within: Context, fn: () => void): void {
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
