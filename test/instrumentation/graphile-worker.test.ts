import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createDatabase, dropDatabase } from "../engines/graphile-worker/database.js";
import { postgresUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";
import { type Application, createApplication } from "./application.js";

const { url: server = "", unavailable } = await postgresUrl();
const TITLE = "TaskInstrumentation and graphile-worker";

if (unavailable !== undefined) describeUnavailable(TITLE, unavailable);
else describe(TITLE, cases);

interface Served {
  readonly seen: readonly { readonly name: string; readonly same: boolean }[];
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
    ["leaves the library alone where its option says so", { graphileWorker: false }, false],
  ])("%s", async (_what, config, isTask) => {
    const url = await createDatabase(server);
    onTestFinished(() => dropDatabase(server, url));
    const env = { DATABASE_URL: url, CONFIG: JSON.stringify(config) };
    const { code, stdout, stderr } = await application.node(["--import", "./otel.mjs", "graphile-service.mjs"], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { seen, spans }: Served = JSON.parse(stdout);
    const names = ["first", "second", "third"];
    expect(seen.map(({ name }) => name).sort()).toEqual(names);
    expect(seen.map(({ same }) => same)).toEqual(names.map(() => isTask));
    const expected = isTask ? names.flatMap((name) => [`enqueue ${name}`, `process ${name}`]).sort() : [];
    expect(spans.map(({ name }) => name).sort()).toEqual(expected);
    // a job that a task adds is in its trace
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(isTask ? 2 : 0);
  });
}
