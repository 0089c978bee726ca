import { deepStrictEqual, fail, ok, rejects as rejectsAs } from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";

const LOOKS_EVERY_MS = 20;

/** Equal in depth, prototypes included; properties that are `undefined` count. */
export function equal(actual: unknown, expected: unknown): void {
  deepStrictEqual(actual, expected);
}

/** Holds at least these properties, each equal in depth. */
export function includes(actual: object | undefined, expected: object): void {
  const found = Object.keys(expected).map((key) => [key, Reflect.get(actual ?? {}, key)]);
  deepStrictEqual(Object.fromEntries(found), { ...expected });
}

/** The same elements, in whatever order. */
export function sameElements(actual: readonly unknown[], expected: readonly unknown[]): void {
  const left = [...actual];
  for (const element of expected) {
    const index = left.findIndex((one) => isEqual(one, element));
    if (index < 0) deepStrictEqual(actual, expected);
    left.splice(index, 1);
  }
  deepStrictEqual(left, []);
}

/** Holds an element that is equal in depth. */
export function contains(actual: readonly unknown[], element: unknown): void {
  if (!actual.some((one) => isEqual(one, element))) deepStrictEqual(actual, [element]);
}

/** One of these. */
export function oneOf(actual: unknown, allowed: readonly unknown[]): void {
  if (!allowed.includes(actual)) deepStrictEqual(actual, allowed);
}

/** From `low` to `high`, both included. */
export function between(actual: number, low: number, high: number): void {
  ok(actual >= low && actual <= high, `expected ${low} to ${high}, got ${actual}`);
}

/** Rejects with an error of which `is` says that it is the right one. */
export async function rejects(promise: Promise<unknown>, is: (error: unknown) => boolean): Promise<void> {
  await rejectsAs(promise, is);
}

/** Asks again and again until `check` neither throws nor rejects; fails with its last error after `ms`. */
export async function eventually(check: () => unknown, ms = 10_000): Promise<void> {
  const until = performance.now() + ms;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (performance.now() > until) throw error;
      await wait(LOOKS_EVERY_MS);
    }
  }
}

/** Resolves as `promise` does, and fails where that takes longer than `ms`. */
export async function soon<T>(what: string, promise: Promise<T>, ms = 10_000): Promise<T> {
  const over = new AbortController();
  const late = wait(ms, undefined, { signal: over.signal }).then(() => fail(`${what} takes more than ${ms} ms`));
  try {
    return await Promise.race([promise, late]);
  } finally {
    over.abort();
    late.catch(() => {});
  }
}

function isEqual(actual: unknown, expected: unknown): boolean {
  try {
    deepStrictEqual(actual, expected);
    return true;
  } catch {
    return false;
  }
}
