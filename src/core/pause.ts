import { unlessAborted } from "./when-aborted.js";

// kept from when this file was loaded: a test may put timers of its own in their place
const [later, clear] = [setTimeout, clearTimeout];

/** Resolves after `ms`, or when `closing` aborts. */
export async function pause(ms: number, closing?: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve) => {
    timer = later(resolve, ms, undefined);
  });
  await unlessAborted(over, closing);
  clear(timer);
}
