import { warn } from "../../core/guard.js";
import type { GraphileEmitter, GraphilePool } from "./library.js";

const OPENED: readonly string[] = ["connect", "acquire"];

/** How many engines use a pool: they share one listener for each event. */
const users = new WeakMap<GraphilePool, number>();
/** Connections with a listener from here; it stays, as they may outlive every engine. */
const heard = new WeakSet<GraphileEmitter>();

/**
 * Listens to the errors of a pool and of its connections, because one that nobody hears ends the process. Returns a
 * function that stops that for this caller, however often it is called.
 */
export function hearPoolErrors(pool: GraphilePool): () => void {
  if (use(pool, 1) === 1) {
    pool.on("error", tellError);
    for (const event of OPENED) pool.on(event, hearErrors);
  }
  let isHeard = true;
  return () => {
    if (!isHeard) return;
    isHeard = false;
    if (use(pool, -1) > 0) return;
    pool.off("error", tellError);
    for (const event of OPENED) pool.off(event, hearErrors);
  };
}

function use(pool: GraphilePool, by: 1 | -1): number {
  const count = (users.get(pool) ?? 0) + by;
  users.set(pool, count);
  return count;
}

// A connection that breaks says so to whoever uses it, too. The pool's own listener is there until right after this, and
// says nothing of what comes later.
function hearErrors(client: GraphileEmitter): void {
  if (heard.has(client)) return;
  heard.add(client);
  client.on("error", tellError);
}

function tellError(error: unknown): void {
  warn("a connection to PostgreSQL broke", error);
}
