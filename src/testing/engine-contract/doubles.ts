/** A function that knows how often it was called. */
export interface Counted {
  (): unknown;
  /** Calls so far, the one that is running included. */
  readonly calls: number;
}

/** Counts the calls of `fn`. */
export function counted(fn: () => unknown = () => {}): Counted {
  let calls = 0;
  const call = (): unknown => {
    calls += 1;
    return fn();
  };
  // defineProperty returns the type that it was given
  return Object.defineProperty(call, "calls", { get: () => calls }) as Counted;
}

/** A promise that is settled from outside. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((onResolve) => {
    resolve = onResolve;
  });
  return { promise, resolve };
}

/** A function that never ends. */
export function hang(): Promise<never> {
  return new Promise(() => {});
}
