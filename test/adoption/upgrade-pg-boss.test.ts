import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgresBackend } from "../engines/pg-boss/backends.js";
import { type Application, createApplication } from "../instrumentation/application.js";
import { describeUnavailable } from "../support/unavailable.js";

const TITLE = "a deployment of pg-boss with 500 jobs in flight";
const PROGRAMS = fileURLToPath(new URL("./programs/", import.meta.url));
const BEFORE = 300;
const ALL = 600;
const RUN_BY_OLD = 100;
const WITHOUT_LINE = JSON.stringify({ pgBoss: false });

interface Work {
  readonly ran: readonly string[];
  readonly refused: readonly string[];
  readonly traceIds: readonly string[];
}

const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(TITLE, backend.unavailable);
else describe(TITLE, cases);

function cases(): void {
  const { url = "", connection } = backend;
  let application: Application;
  beforeAll(async () => {
    application = await createApplication({}, { DATABASE_URL: url, SCHEMA: connection.schema ?? "" });
    cpSync(PROGRAMS, application.folder, { recursive: true });
  }, 60_000);
  afterAll(() => application.remove());

  const run = async <T>(env: Readonly<Record<string, string>>): Promise<T> => {
    const { code, stdout, stderr } = await application.node(["--import", "./otel.mjs", "orders.mjs"], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout);
  };
  const produce = (from: number, to: number, env = {}): Promise<[id: string, traceId: string][]> =>
    run({ ROLE: "producer", FROM: String(from), TO: String(to), ...env });

  test("loses no job, runs none twice, and has strict workers refuse none: producers first", {
    timeout: 120_000,
  }, async () => {
    const before = await produce(0, BEFORE, { CONFIG: WITHOUT_LINE });
    const after = await produce(BEFORE, ALL);
    const early = await run<Work>({ UNTIL: String(RUN_BY_OLD), CONFIG: WITHOUT_LINE });
    const late = await run<Work>({ UNTIL: String(ALL - early.ran.length) });
    expect([early.refused, late.refused, early.traceIds]).toEqual([[], [], []]);
    expect([...early.ran, ...late.ran].sort()).toEqual([...before, ...after].map(([id]) => id).sort());
    // an old worker has run some of what new producers sent; each other one of those is in its producer's trace
    const left = after.filter(([id]) => late.ran.includes(id)).map(([, traceId]) => traceId);
    expect(left.length).toBeLessThan(after.length);
    expect(late.traceIds).toHaveLength(late.ran.length);
    expect(left.filter((traceId) => !late.traceIds.includes(traceId))).toEqual([]);
  });
}
