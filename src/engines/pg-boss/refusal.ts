/** Classes of SQLSTATE that say something of the server, not of the statement: no connection, no room, shutting down. */
const UNAVAILABLE = new Set(["08", "53", "57", "58"]);
/** What PostgreSQL says of a value that it cannot keep: a data exception, or a limit exceeded. */
const CONTENT = new Set(["22", "54"]);
const SQL_STATE = /^[0-9FHPX][0-9A-Z]{4}$/;

/** Whether a store has refused what it was to store, so that storing less may succeed. Never throws. */
export function isRefusal(error: unknown): boolean {
  return CONTENT.has(sqlClassOf(error));
}

/** Whether an error came about because the store gave no answer, or none that concerns the request. Never throws. */
export function isOutage(error: unknown): boolean {
  const sqlClass = sqlClassOf(error);
  return sqlClass === "" || UNAVAILABLE.has(sqlClass);
}

// The driver `pg` and PGlite give the SQLSTATE as `code`, Bun's as `errno`.
function sqlClassOf(error: unknown): string {
  try {
    const { code, errno } = error as { code?: unknown; errno?: unknown };
    const state = [code, errno].find((value) => typeof value === "string" && SQL_STATE.test(value));
    return String(state ?? "").slice(0, 2);
  } catch {
    return "";
  }
}
