import { postgresMissing, startPostgres } from "./servers.js";

/** What all test processes have open at a time comes near the 100 that PostgreSQL takes by itself. */
const CONNECTIONS = 400;

/**
 * Starts a PostgreSQL for all tests of this run, and gives its address as DATABASE_URL. Where that is set, or the
 * server's programs are not on this machine, the tests look for a server that runs already.
 */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env.DATABASE_URL || postgresMissing() !== undefined) return undefined;
  const server = await startPostgres({ connections: CONNECTIONS });
  process.env.DATABASE_URL = server.url;
  return () => server.stop();
}
