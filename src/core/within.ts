import { onAbort } from "./on-abort.js";

/** Waits for `work`, but no longer than `ms`, nor once `signal` has aborted; `otherwise` then, or where it fails. Never rejects. */
export function within<T>(ms: number, work: Promise<T>, otherwise: T, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve) => {
    let unwatch: (() => void) | undefined;
    const settle = (value: T): void => {
      clearTimeout(timer);
      unwatch?.();
      resolve(value);
    };
    const giveUp = (): void => settle(otherwise);
    const timer = setTimeout(giveUp, ms);
    work.then(settle, giveUp);
    unwatch = signal && onAbort(signal, giveUp);
  });
}
