import { safely } from "./guard.js";

/** Of each signal: the one listener it has from here, and all whom that tells. */
interface Watch {
  readonly followers: Set<() => void>;
  readonly listener: () => void;
}

const watches = new WeakMap<AbortSignal, Watch>();

/**
 * Calls `follow` when a signal aborts, at once if it has. Returns how to stop that. One listener for all who follow a
 * signal: one that all attempts of a worker share has more of them than Node takes without a warning of a leak; the
 * last who leaves takes it away. What `follow` or a signal throws is told to diag.
 */
export function onAbort(signal: AbortSignal, follow: () => void): () => void {
  const one = (): void => safely("following a signal", follow, undefined);
  if (safely("reading a signal", () => signal.aborted, false)) {
    one();
    return () => {};
  }
  const watch = watches.get(signal) ?? listen(signal);
  watch.followers.add(one);
  return () => {
    if (watch.followers.delete(one) && watch.followers.size === 0) ignore(signal, watch);
  };
}

function listen(signal: AbortSignal): Watch {
  const followers = new Set<() => void>();
  const listener = (): void => {
    for (const follow of followers) follow();
  };
  const watch = { followers, listener };
  watches.set(signal, watch);
  safely("watching a signal", () => signal.addEventListener("abort", listener, { once: true }), undefined);
  return watch;
}

function ignore(signal: AbortSignal, { listener }: Watch): void {
  watches.delete(signal);
  safely("leaving a signal", () => signal.removeEventListener("abort", listener), undefined);
}
