import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createDatabase, dropDatabase } from "../engines/graphile-worker/database.js";
import { type Application, createApplication } from "../instrumentation/application.js";
import { postgresUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";

const TITLE = "a deployment with 500 jobs in flight";
const PROGRAMS = fileURLToPath(new URL("./programs/", import.meta.url));
/** How many jobs there are when the second, when the last producers are deployed, and in all. */
const [FIRST, SECOND, ALL] = [300, 600, 650];
const RUN_BY_OLD = 100;

/** Options of the line, where there is one. */
type Line = { readonly producer?: boolean } | undefined;

interface Work {
  readonly ran: readonly string[];
  readonly refused: readonly string[];
  readonly traceIds: readonly string[];
}

const { url: server = "", unavailable } = await postgresUrl();
if (unavailable !== undefined) describeUnavailable(TITLE, unavailable);
else describe.each(["pg-boss", "graphile-worker"])(`of %s, ${TITLE}`, cases);

function cases(library: string): void {
  let application: Application;
  beforeAll(async () => {
    application = await createApplication({}, {});
    cpSync(PROGRAMS, application.folder, { recursive: true });
  });
  afterAll(() => application.remove());

  const run = async <T>(line: Line, env: Readonly<Record<string, string>>): Promise<T> => {
    const CONFIG = JSON.stringify(line ?? { pgBoss: false, graphileWorker: false });
    const args = ["--import", "./otel.mjs", `orders-${library}.mjs`];
    const { code, stdout, stderr } = await application.node(args, { ...env, CONFIG });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout);
  };

  test.each<[order: string, second: Line]>([
    ["producers first", {}],
    ["workers first, with producers that add jobs as before until then", { producer: false }],
  ])("loses no job, runs none twice, and has strict workers refuse none: %s", async (_, second) => {
    const url = await createDatabase(server);
    onTestFinished(() => dropDatabase(server, url));
    const produce = async (line: Line, from: number, to: number): Promise<[id: string, traceId: string][]> =>
      await run(line, { DATABASE_URL: url, ROLE: "producer", FROM: String(from), TO: String(to) });
    const work = (line: Line, until: number): Promise<Work> => run(line, { DATABASE_URL: url, UNTIL: String(until) });
    const [before, between] = [await produce(undefined, 0, FIRST), await produce(second, FIRST, SECOND)];
    const early = await work(undefined, RUN_BY_OLD);
    const after = await produce({}, SECOND, ALL);
    const late = await work({}, ALL - early.ran.length);

    expect([early.refused, late.refused, early.traceIds]).toEqual([[], [], []]);
    const ran = [...early.ran, ...late.ran];
    expect(ran.sort()).toEqual([...before, ...between, ...after].map(([id]) => id).sort());
    expect(late.traceIds).toHaveLength(late.ran.length);
    // an old worker has run some of what the second producers added
    expect(between.filter(([id]) => early.ran.includes(id)).length).toBeGreaterThan(0);
    const withCarrier = [...(second?.producer === false ? [] : between), ...after];
    const expected = withCarrier.filter(([id]) => late.ran.includes(id)).map(([, traceId]) => traceId);
    const all = new Set([...before, ...between, ...after].map(([, traceId]) => traceId));
    expect(late.traceIds.filter((traceId) => all.has(traceId)).sort()).toEqual(expected.sort());
  });
}
