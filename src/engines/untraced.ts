import { activeContext, SUPPRESS_TRACING, withContext } from "../core/context.js";

/** Calls `fn` where nothing records spans: a span for each look into the queue would bury those that matter. */
export function untraced<T>(fn: () => T): T {
  return withContext(activeContext().setValue(SUPPRESS_TRACING, true), fn);
}
