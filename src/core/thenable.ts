/** True for a promise of any kind: what may be a value or a promise of one is asked before it is awaited. */
export function isThenable<T>(value: T | Promise<T>): value is Promise<T> {
  const mayHaveThen = (typeof value === "object" && value !== null) || typeof value === "function";
  return mayHaveThen && typeof (value as { then?: unknown }).then === "function";
}

/**
 * A promise of what a thenable comes to, whose followers run where they were added: a `then` of its own calls them from
 * anywhere, in another task too.
 */
export function adopt<T>(thenable: PromiseLike<T>): Promise<T> {
  const plain = thenable instanceof Promise && thenable.then === Promise.prototype.then;
  return plain ? thenable : new Promise((resolve, reject) => void thenable.then(resolve, reject));
}
