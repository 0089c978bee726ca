const SQL_STATE = /^[0-9FHPX][0-9A-Z]{4}$/;
/**
 * Classes of SQLSTATE that say something of the server, not of the statement: no connection, no room, an operator's
 * intervention, the system.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const UNAVAILABLE = /^(08|53|57|58)/;
/** A server that may only be read from: a stand-by, or one that is being moved. */
const READ_ONLY = "25006";
/** Codes by which Node says that no connection was made, so that nothing can have been sent. */
const NEVER_SENT = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/;

/** The SQLSTATE of an error, `undefined` where it has none: the server did not answer. Never throws. */
export function sqlStateOf(error: unknown): string | undefined {
  // the drivers `pg` and PGlite give it as `code`, Bun's as `errno`
  return fieldsOf(error).find((value) => SQL_STATE.test(value));
}

/** Whether a server that answers so cannot be worked with now, whatever it is asked. */
export function isUnavailable(sqlState: string): boolean {
  return UNAVAILABLE.test(sqlState) || sqlState === READ_ONLY;
}

/** Whether the server has certainly not carried out a request that failed with this error. Never throws. */
export function wasNeverSent(error: unknown): boolean {
  const sqlState = sqlStateOf(error);
  // a server that breaks a connection off may have carried out what it was asked before
  if (sqlState !== undefined) return !/^(08|57|58)/.test(sqlState);
  return fieldsOf(error).some((value) => NEVER_SENT.test(value));
}

function fieldsOf(error: unknown): readonly string[] {
  try {
    // anything may have been thrown: what has no such properties, or throws at them, has no code
    const { code, errno } = error as { code?: unknown; errno?: unknown };
    return [code, errno].filter((value) => typeof value === "string");
  } catch {
    return [];
  }
}
