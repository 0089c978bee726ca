import { type Context, context, createContextKey, ROOT_CONTEXT } from "@opentelemetry/api";
import { warn } from "./guard.js";

const PROBE = createContextKey("otel-taskflow.probe");
/** The key by which OpenTelemetry's SDKs are told not to record. */
export const SUPPRESS_TRACING: symbol = createContextKey("OpenTelemetry SDK Context Key SUPPRESS_TRACING");
/** The class of the API's own Contexts. */
const OWN_KIND: object = Object.getPrototypeOf(ROOT_CONTEXT);
/** Classes whose instances were found to be Contexts. */
const soundKinds = new WeakSet<object>();

/** Returns the active context's value of a key; `undefined` where the context manager fails. Never throws. */
export function activeValue(key: symbol): unknown {
  try {
    return context.active().getValue(key);
  } catch {
    return undefined;
  }
}

/**
 * Returns the active context, or the root context where the context manager fails or gives no Context. Never throws.
 */
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
  let end = fn;
  insideOnce(within, () => {
    end = endOf(fn);
  });
  return end();
}

/** True for a value that behaves as a Context does. May throw what its methods throw. */
export function isContext(value: unknown): value is Context {
  if (typeof value !== "object" || value === null) return false;
  const kind: object | null = Object.getPrototypeOf(value);
  if (kind === OWN_KIND || (kind !== null && soundKinds.has(kind))) return true;
  // tried as a Context, to see whether it is one
  const changed = (value as Context).setValue(PROBE, PROBE);
  const kept = changed.getValue(PROBE) === PROBE && changed.deleteValue(PROBE).getValue(PROBE) === undefined;
  // another copy of the API has a class of its own; a plain object is only itself
  if (kept && kind !== null && kind !== Object.prototype) soundKinds.add(kind);
  return kept;
}

/** True where code in this context wants nothing recorded. */
export function isSuppressed(context: Context): boolean {
  return context.getValue(SUPPRESS_TRACING) === true;
}

/** Does the same as {@link withContext} for a function that returns nothing and does not throw. */
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

/** Calls `fn`, and returns what gives its value, or throws what it threw. */
export function endOf<T>(fn: () => T): () => T {
  try {
    const value = fn();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}
