import { onAbort } from "./on-abort.js";

/** Resolves when a signal aborts, or at once if it has. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => void onAbort(signal, resolve));
}
