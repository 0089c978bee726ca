/** True for a promise of any kind: what may be a value or a promise of one is asked before it is awaited. */
export function isThenable<T>(value: T | Promise<T>): value is Promise<T> {
  const mayHaveThen = (typeof value === "object" && value !== null) || typeof value === "function";
  return mayHaveThen && typeof (value as { then?: unknown }).then === "function";
}
