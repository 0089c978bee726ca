import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgresBackend } from "../engines/pg-boss/backends.js";
import { describeUnavailable } from "../support/unavailable.js";
import { type Application, createApplication } from "./application.js";

const backend = await postgresBackend();
const TITLE = "TaskInstrumentation and pg-boss";
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(TITLE, backend.unavailable);
else describe(TITLE, cases);

interface Served {
  readonly seen: readonly { readonly name: string; readonly same: boolean; readonly data: object }[];
  readonly spans: readonly { readonly name: string; readonly traceId: string }[];
}

function cases(): void {
  let application: Application;
  beforeAll(async () => {
    application = await createApplication({}, {});
  });
  afterAll(() => application.remove());

  test.each<[what: string, config: object, isTask: boolean]>([
    ["makes tasks of the jobs of a service that is an ES module", {}, true],
    ["leaves the library alone where its option says so", { pgBoss: false }, false],
  ])("%s", async (_what, config, isTask) => {
    const { url = "", connection } = backend;
    const env = { DATABASE_URL: url, SCHEMA: connection.schema ?? "", CONFIG: JSON.stringify(config) };
    const { code, stdout, stderr } = await application.node(["--import", "./otel.mjs", "pg-boss-service.mjs"], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { seen, spans }: Served = JSON.parse(stdout);
    const names = ["first", "second", "third"];
    const expected = names.map((name, n) => ({ name, same: isTask, data: { n: n + 1 } }));
    expect([...seen].sort((a, b) => a.name.localeCompare(b.name))).toEqual(expected);
    if (!isTask) {
      expect(spans.filter(({ name }) => name.startsWith("enqueue"))).toEqual([]);
      return;
    }
    expect(spans.map(({ name }) => name).sort()).toEqual(
      names.flatMap((name) => [`enqueue ${name}`, `process ${name}`]).sort(),
    );
    // a job that a task sends is in its trace
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(2);
  });

  test("refuses a place for carriers that it does not know", async () => {
    const { TaskInstrumentation } = await import("otel-taskflow/instrumentation");
    const odd = (pgBoss: unknown) => () => new TaskInstrumentation({ pgBoss } as object);
    expect(odd({ carrier: "column" })).toThrow('carrier: expected "data"');
    expect(odd("yes")).toThrow("pgBoss: expected true or false");
  });
}
