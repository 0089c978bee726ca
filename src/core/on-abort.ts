import { safely } from "./guard.js";

/** The one listener that a signal has from here, and all whom it tells. */
interface Watch {
  readonly followers: Set<() => void>;
  readonly listener: () => void;
}

const watches = new WeakMap<AbortSignal, Watch>();

/**
 * Calls `follow` when a signal aborts, or at once if it has. Returns a function that stops that. All who follow a
 * signal share one listener, because Node warns of a leak when many attempts listen to the signal of their worker; the
 * last who leaves removes it. What `follow` or a signal throws is told to diag.
 */
export function onAbort(signal: AbortSignal, follow: () => void): () => void {
  const one = (): void => safely("following a signal", follow);
  if (safely("using a signal", () => signal.aborted, false)) {
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
  safely("using a signal", () => signal.addEventListener("abort", listener, { once: true }));
  return watch;
}

function ignore(signal: AbortSignal, { listener }: Watch): void {
  watches.delete(signal);
  safely("using a signal", () => signal.removeEventListener("abort", listener));
}
