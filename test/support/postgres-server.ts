import { execFileSync } from "node:child_process";
import { chownSync, existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import pg from "pg";
import { freePort, type OwnServer, type ServerPlan, startServer, temporaryFolder } from "./server-process.js";

const PACKAGED = "/usr/lib/postgresql";

interface Options extends Pick<ServerPlan, "quit"> {
  /** The most that it takes at a time. */
  readonly connections: number;
}

type Account = { readonly uid: number; readonly gid: number };

/**
 * Starts a PostgreSQL cluster of this process's own, with an empty database `test`. `quit` ends it: SIGQUIT at once,
 * SIGINT after it has told its clients.
 */
export async function startPostgres({
  quit = "SIGQUIT",
  connections = 100,
}: Partial<Options> = {}): Promise<OwnServer> {
  const binaries = findBinaries();
  if (binaries === undefined) throw new Error(postgresMissing());
  const account = unprivileged();
  const port = await freePort();
  const folder = temporaryFolder("postgres");
  if (account !== undefined) chownSync(folder, account.uid, account.gid);
  const init = ["-D", folder, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"];
  execFileSync(join(binaries, "initdb"), init, { ...account, cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  // a killed process loses nothing without fsync: the system still holds what was written
  const args = ["-D", folder, "-k", folder, "-h", "127.0.0.1", "-p", String(port)];
  for (const setting of ["fsync=off", "autovacuum=off", `max_connections=${connections}`]) args.push("-c", setting);
  const server = await startServer({
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    ...{ port, folder, args, command: join(binaries, "postgres"), spawn: account ?? {} },
    ...{ quit, ping: pingPostgres },
  });
  await query(server.url, "CREATE DATABASE test");
  return { ...server, url: server.url.replace(/postgres$/, "test") };
}

/** Why `startPostgres` cannot; `undefined` where it can. */
export function postgresMissing(): string | undefined {
  if (findBinaries() !== undefined) return undefined;
  return `there are no initdb and postgres on the PATH or below ${PACKAGED}`;
}

/** Rejects unless a PostgreSQL answers at this URL. */
export async function pingPostgres(url: string): Promise<void> {
  await query(url, "SELECT 1");
}

async function query(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on("error", () => {}); // the query's own rejection tells
  try {
    await client.connect();
    await client.query(sql);
  } finally {
    await client.end();
  }
}

function findBinaries(): string | undefined {
  const packaged = existsSync(PACKAGED) ? readdirSync(PACKAGED).map((version) => join(PACKAGED, version, "bin")) : [];
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...packaged.sort().reverse()];
  return folders.find((folder) => ["initdb", "postgres"].every((name) => existsSync(join(folder, name))));
}

// PostgreSQL refuses to run as root.
function unprivileged(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = ["-u", "-g"].map((flag) => idOf(flag, name));
    if (uid !== undefined && gid !== undefined) return { uid, gid };
  }
  return undefined;
}

function idOf(flag: string, name: string): number | undefined {
  try {
    return Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  } catch {
    return undefined;
  }
}
