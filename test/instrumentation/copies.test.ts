import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createDatabase, dropDatabase } from "../engines/graphile-worker/database.js";
import { postgresUrl, redisUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";
import { type Application, createApplication, type Environment } from "./application.js";

const TITLE =
  "two copies of this library, one of them the instrumentation's, make one attempt and one enqueue span of a job";

interface Ran {
  readonly seen: readonly { readonly same: boolean; readonly carried: boolean }[];
  readonly names: readonly string[];
}

const spansOf = (names: readonly string[]): string[] => names.flatMap((name) => [`enqueue ${name}`, `process ${name}`]);

const redis = await redisUrl();
const postgres = await postgresUrl();

let application: Application;
beforeAll(async () => {
  application = await createApplication({}, {});
});
afterAll(() => application.remove());

async function ran(program: string, count: number, env: Environment): Promise<Ran> {
  const settings = { ...env, COUNT: String(count) };
  const { code, stdout, stderr } = await application.node(["--import", "./otel.mjs", program], settings);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const { seen, names }: Ran = JSON.parse(stdout);
  expect(seen).toEqual(Array.from({ length: count }, () => ({ same: true, carried: true })));
  return { seen, names };
}

async function databaseFor(server: string): Promise<Environment> {
  const url = await createDatabase(server);
  onTestFinished(() => dropDatabase(server, url));
  return { DATABASE_URL: url };
}

if (redis.url === undefined) describeUnavailable(TITLE, redis.unavailable);
else {
  const { hostname: host, port } = new URL(redis.url);
  describe(TITLE, () => {
    test("of BullMQ", async () => {
      const CONNECTION = JSON.stringify({ host, port: Number(port || 6379), maxRetriesPerRequest: null });
      const { names } = await ran("copies-bullmq.mjs", 1, { CONNECTION });
      expect(names).toEqual(spansOf(["job", "task"]).sort());
    });
  });
}

if (postgres.url === undefined) describeUnavailable(TITLE, postgres.unavailable);
else {
  const { url } = postgres;
  describe(TITLE, () => {
    test.each<[what: string, env: Environment]>([
      ["of graphile-worker", {}],
      ["of graphile-worker, where both wrap it", { WRAP: "yes" }],
    ])("%s", async (_what, env) => {
      const { names } = await ran("copies-graphile-worker.mjs", 1, { ...(await databaseFor(url)), ...env });
      expect(names).toEqual(spansOf(["job", "task"]).sort());
    });

    test("of pg-boss, in a batch and fetched as well", async () => {
      const { names } = await ran("copies-pg-boss.mjs", 4, await databaseFor(url));
      const expected = [...spansOf(["job", "task", "batch"]), "process batch", "batch batch", "enqueue pulled"];
      expect(names).toEqual(expected.sort());
    });
  });
}
