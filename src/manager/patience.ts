import { clearTimeout as nodeClear, setTimeout as nodeTimeout } from "node:timers";
import { TaskStoreError } from "../core/errors.js";
import { debug, warn } from "../core/guard.js";
import { onAbort } from "../core/on-abort.js";
import { adopt } from "../core/thenable.js";
import { unlessAborted } from "../core/when-aborted.js";
import type { StoreAnswer } from "../engines/engine.js";

/** For so long anybody waits for an answer of a store. */
export const ANSWER_MS = 10_000;
/** Between two tries to store an end: at first, and at most. */
const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 2_000;
// kept from when this file was loaded: a test's fake timers change the module's exports too
const [later, clear] = [nodeTimeout, nodeClear];

/** Resolves after `ms`, or when `closing` aborts. */
export async function pause(ms: number, closing?: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve) => {
    timer = later(resolve, ms, undefined);
  });
  await unlessAborted(over, closing);
  clear(timer);
}

/**
 * Settles as `work` does, but rejects with a `TaskStoreError` where that takes longer than 10 s, or when `closing`
 * aborts. `known` says whether anything can have been stored by then.
 */
export function answered<T>(work: Promise<T>, closing: AbortSignal, known: () => false | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const refuse = (): void => reject(new TaskStoreError("the store gave no answer", { stored: known() }));
    const timer = setTimeout(refuse, ANSWER_MS);
    const unwatch = onAbort(closing, refuse);
    const settled = (): void => {
      clearTimeout(timer);
      unwatch();
    };
    work.then(resolve, reject).then(settled);
  });
}

/**
 * Waits until an end is stored, and tries `again` with longer and longer pauses where it could not be. `"lost"` where the
 * store says that somebody else has the task by now; `undefined` where `closing` aborts before that. Never rejects.
 */
export async function untilStored(
  what: string,
  first: Promise<StoreAnswer>,
  again: () => StoreAnswer | Promise<StoreAnswer>,
  closing: AbortSignal,
): Promise<"stored" | "lost" | undefined> {
  let storing = first;
  for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(2 * ms, LAST_PAUSE_MS)) {
    try {
      const answer = adopt(storing).then((lost) => lost ?? ("stored" as const));
      return await unlessAborted(answer, closing);
    } catch (error) {
      // each further try would say the same
      (ms === FIRST_PAUSE_MS ? warn : debug)(`${what} could not be stored yet`, error);
    }
    await pause(ms, closing);
    if (closing.aborted) return undefined;
    storing = (async () => await again())();
  }
}
