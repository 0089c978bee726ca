import { onAbort } from "./on-abort.js";

/** Settles as `work` does, or resolves to `undefined` when a signal aborts before that. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const unwatch = signal && onAbort(signal, () => resolve(undefined));
    work.then(resolve, reject).then(unwatch);
  });
}

/** Resolves when a signal aborts, or at once if it has. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => void onAbort(signal, resolve));
}
