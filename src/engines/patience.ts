import { TaskStoreError } from "../core/errors.js";
import { debug, warn } from "../core/guard.js";
import { pause } from "../core/pause.js";

import { unlessAborted } from "../core/when-aborted.js";
import { within } from "../core/within.js";

/** For so long anybody waits for an answer of a store. */
const ANSWER_MS = 10_000;
/** A store that is connected to may first have to be made, and gets so much longer. */
const MAKING_MS = 50_000;
/** Between two tries to store an end: at first, and at most. */
const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 2_000;

/** What is known of a store. */
export interface StoreHearing {
  /** Aborts when the store is not waited for any more. */
  readonly closing: AbortSignal;
  /** When it last answered a request, on performance.now()'s axis. */
  heardAt: number;
}

/**
 * Settles as `work` does, but rejects with a `TaskStoreError` where the store answers nothing for 10 s, or when it is not
 * waited for any more. `known` is false as long as nothing can have been stored: a connection may take a minute.
 */
export async function answered<T>(work: Promise<T>, store: StoreHearing, known: () => false | undefined): Promise<T> {
  const settled = work.then(
    (value) => () => value,
    (error: unknown) => () => {
      throw error;
    },
  );
  const since = performance.now();
  let left = ANSWER_MS;
  do {
    const answer = await within<(() => T) | undefined>(left, settled, undefined, store.closing);
    const now = performance.now();
    if (answer !== undefined) {
      store.heardAt = now;
      return answer();
    }
    // many requests at once wait for each other, and not for a store that is silent
    left = (known() === false ? since + MAKING_MS : store.heardAt) + ANSWER_MS - now;
  } while (left > 0 && !store.closing.aborted);
  throw noAnswer(known());
}

/** What is thrown where a store gave no answer; `stored` is false where nothing can have been stored. */
export function noAnswer(stored: false | undefined): TaskStoreError {
  return new TaskStoreError("the store gave no answer", { stored });
}

/**
 * Waits for a store's answer to what it was `asked`, and asks `again` with longer and longer pauses where that fails.
 * `undefined` when `closing` aborts before there is an answer, or after `most` ms. The first failure is told as `failed`.
 * Never rejects.
 */
export async function untilAnswered<T>(
  failed: string,
  asked: Promise<T>,
  again: () => Promise<T>,
  closing: AbortSignal,
  most: number = Number.POSITIVE_INFINITY,
): Promise<T | undefined> {
  const since = performance.now();
  let answer = asked;
  for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(2 * ms, LAST_PAUSE_MS)) {
    try {
      return await unlessAborted(answer, closing);
    } catch (error) {
      // each further try would say the same
      (ms === FIRST_PAUSE_MS ? warn : debug)(failed, error);
    }
    await pause(ms, closing);
    if (closing.aborted || performance.now() - since > most) return undefined;
    answer = again();
  }
}
