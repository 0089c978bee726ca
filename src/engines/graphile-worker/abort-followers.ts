const followers = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `onAbort` when a signal aborts, at once if it has; returns how to stop that. One listener for all followers:
 * a signal that all jobs of a worker share has more of them than Node takes without a warning of a leak.
 */
export function followAbort(signal: AbortSignal, onAbort: () => void): () => void {
  const all = followers.get(signal) ?? listen(signal);
  all.add(onAbort);
  if (signal.aborted) onAbort();
  return () => all.delete(onAbort);
}

function listen(signal: AbortSignal): Set<() => void> {
  const all = new Set<() => void>();
  followers.set(signal, all);
  const tellAll = (): void => {
    for (const tell of all) tell();
  };
  signal.addEventListener("abort", tellAll, { once: true });
  return all;
}
