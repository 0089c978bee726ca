import type { GraphilePool } from "./library.js";

type Release = (error?: unknown) => void;
type Borrow = (error: unknown, client: unknown, release: Release | undefined) => void;

interface LendingPool {
  connect(borrow?: Borrow): unknown;
}

/**
 * An application's pool as graphile-worker's runner gets it: what is released twice is released once. Up to 0.18 a runner
 * that is stopped before its LISTEN is answered does so when that connection then breaks, and gives the pool's refusal
 * to nobody, so that it would end the process.
 */
export function runnerPool(pool: GraphilePool): GraphilePool {
  const lender: LendingPool = pool;
  const connect = (borrow?: Borrow): unknown => {
    if (borrow === undefined) return lender.connect();
    return lender.connect((error, client, release) => borrow(error, client, once(release)));
  };
  return new Proxy(pool, {
    get(_, key) {
      if (key === "connect") return connect;
      const value: unknown = Reflect.get(pool, key);
      return typeof value === "function" ? value.bind(pool) : value;
    },
  });
}

function once(release: Release | undefined): Release {
  let left = release;
  return (error) => {
    const call = left;
    left = undefined;
    call?.(error);
  };
}
