import { userInfo } from "node:os";
import { pingPostgres } from "./postgres-server.js";
import { pingRedis, redisMissing, startRedis } from "./redis-server.js";

export { postgresMissing, startPostgres } from "./postgres-server.js";
export { redisMissing, startRedis } from "./redis-server.js";
export type { OwnServer } from "./server-process.js";

/** A server to test against, or why there is none. */
export type Found =
  | { readonly url: string; readonly unavailable?: undefined }
  | { readonly url?: undefined; readonly unavailable: string };

let redis: Promise<Found> | undefined;
let postgres: Promise<Found> | undefined;

/** REDIS_URL, or a Redis on its usual port, or a `redis-server` started for this process. */
export function redisUrl(): Promise<Found> {
  redis ??= findRedis();
  return redis;
}

/** DATABASE_URL, or the database `test` on PostgreSQL's usual port, as the system's user or as `postgres`. */
export function postgresUrl(): Promise<Found> {
  postgres ??= findPostgres();
  return postgres;
}

async function findRedis(): Promise<Found> {
  const { REDIS_URL } = process.env;
  const found = await firstAnswering(REDIS_URL ? [REDIS_URL] : ["redis://127.0.0.1:6379"], pingRedis);
  if (found.url !== undefined || REDIS_URL) return found;
  const missing = redisMissing();
  if (missing !== undefined) return { unavailable: `${found.unavailable}, and ${missing}` };
  const { url } = await startRedis({ persistent: false });
  return { url };
}

async function findPostgres(): Promise<Found> {
  const { DATABASE_URL } = process.env;
  const users = [userInfo().username, "postgres"];
  const usual = users.map((user) => `postgres://${user}@127.0.0.1:5432/test`);
  return await firstAnswering(DATABASE_URL ? [DATABASE_URL] : usual, pingPostgres);
}

async function firstAnswering(urls: readonly string[], ping: (url: string) => Promise<void>): Promise<Found> {
  const reasons: string[] = [];
  for (const url of urls) {
    try {
      await ping(url);
      return { url };
    } catch (error) {
      reasons.push(`${withoutPassword(url)}: ${error instanceof Error ? error.message || error.name : error}`);
    }
  }
  return { unavailable: `no server answers (${reasons.join("; ")})` };
}

function withoutPassword(url: string): string {
  return url.replace(/:[^:@/]*@/, "@");
}
