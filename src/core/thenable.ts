/** True for a promise of any kind. Asked before an `await`, so that a value needs none. */
export function isThenable<T>(value: T | Promise<T>): value is Promise<T> {
  const mayHaveThen = (typeof value === "object" && value !== null) || typeof value === "function";
  // anything that may have properties may be asked for one
  return mayHaveThen && typeof (value as { then?: unknown }).then === "function";
}

/**
 * Makes a promise of a thenable, so that followers run in the asynchronous context they were added in: a `then` of the
 * thenable's own may call them from anywhere, another task included.
 */
export function adopt<T>(thenable: PromiseLike<T>): Promise<T> {
  const plain = thenable instanceof Promise && thenable.then === Promise.prototype.then;
  return plain ? thenable : new Promise((resolve, reject) => void thenable.then(resolve, reject));
}

/** The promise of what `call` returns, or rejected with what it throws. */
export function promiseOf<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return Promise.resolve(call());
  } catch (error) {
    return Promise.reject(error);
  }
}
