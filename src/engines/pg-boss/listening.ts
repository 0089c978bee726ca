import { warn } from "../../core/guard.js";
import type { PgBossInstance } from "./boss.js";

/** How many engines use an instance of pg-boss. */
const users = new WeakMap<PgBossInstance, number>();

/**
 * Listens to an instance's errors, once however many engines use it: without a listener, Node would end the process.
 * Returns how to stop, which is to be called once.
 */
export function listenTo(boss: PgBossInstance): () => void {
  if (count(boss, 1) === 1) boss.on("error", tell);
  return () => {
    if (count(boss, -1) === 0) boss.off("error", tell);
  };
}

function count(boss: PgBossInstance, step: 1 | -1): number {
  const number = (users.get(boss) ?? 0) + step;
  users.set(boss, number);
  return number;
}

function tell(error: unknown): void {
  warn("pg-boss", error);
}
