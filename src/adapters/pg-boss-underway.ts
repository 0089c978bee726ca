import { AsyncLocalStorage } from "node:async_hooks";
import type { Span } from "@opentelemetry/api";
import { isThenable } from "../core/thenable.js";
import type { Carrier } from "../core/types.js";

/** A call of a producer that is under way, or of `fetch`. */
export interface Underway {
  /** What the jobs that it makes are to get. Default: nothing. */
  readonly carrier?: Carrier | undefined;
  /**
   * Makes the span of each job of a `publish` by `start`, as that alone knows the queues; `keep` is to be called within
   * with the job's carrier. Default: `start` does.
   */
  readonly sendTo?: ((queue: string, start: () => Span, keep: (carrier: Carrier) => void) => Span) | undefined;
  /** The carriers of jobs that it fetches, in their order, those without one left out. */
  readonly fetched?: Carrier[] | undefined;
}

const underway = new AsyncLocalStorage<{ readonly call: Underway; isOver: boolean }>();

/** The call that the calling code is a part of; `undefined` where it has come to its end. */
export function current(): Underway | undefined {
  const store = underway.getStore();
  return store === undefined || store.isOver ? undefined : store.call;
}

/** Calls what makes or fetches jobs, as a part of `call` until it has settled. Returns and throws what `fn` does. */
export function during<T>(call: Underway, fn: () => T): T {
  const store = { call, isOver: false };
  const over = (): void => {
    store.isOver = true;
  };
  try {
    const result = underway.run(store, fn);
    // connections that were made meanwhile go on in this asynchronous context
    if (isThenable(result)) Promise.resolve(result).then(over, over);
    else over();
    return result;
  } catch (error) {
    over();
    throw error;
  }
}
