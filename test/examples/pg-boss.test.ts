import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { query } from "../engines/pg-boss/backends.js";
import { postgresUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";
import { printedFacts } from "./printed-facts.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";

const [PRODUCER, WORKER, EMBEDDED] = ["producer", "worker", "embedded"].map((name) => `examples/pg-boss/${name}.ts`);
const TRACE_ID = /trace ([0-9a-f]{32})/;

const { url, unavailable } = await postgresUrl();
if (url === undefined) describeUnavailable("examples/pg-boss", unavailable);
else describe("examples/pg-boss", () => describeExamples(url));

function describeExamples(url: string): void {
  let producer: Run;
  let worker: Run;
  beforeAll(async () => {
    const database = `pgboss_example_${crypto.randomUUID().slice(0, 8)}`;
    await query(url, `CREATE DATABASE ${database}`);
    const env = { DATABASE_URL: Object.assign(new URL(url), { pathname: database }).href };
    producer = await runExample(`tsx ${PRODUCER}`, env);
    worker = await runExample(`tsx ${WORKER}`, env);
    await query(url, `DROP DATABASE ${database} WITH (FORCE)`);
  });

  it("end by themselves, without a complaint", () => {
    expect([producer, worker]).toMatchObject([producer, worker].map(() => ({ exitCode: 0, stderr: "" })));
  });

  it("share one trace across the two processes", () => {
    const [, enqueued] = TRACE_ID.exec(producer.stdout) ?? [];
    const [, processed] = TRACE_ID.exec(worker.stdout) ?? [];
    expect([typeof enqueued, processed]).toEqual(["string", enqueued]);
  });

  it("print what their closing comments say, apart from ids and times", () => {
    expect(printedFacts(producer.stdout)).toEqual(printedFacts(expectedOutput(String(PRODUCER))));
    expect(printedFacts(worker.stdout)).toEqual(printedFacts(expectedOutput(String(WORKER))));
  });
}

it("the embedded example runs in its second process what the first one left", async () => {
  const folder = mkdtempSync(join(tmpdir(), "otel-taskflow-example-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const env = { TASKS_FOLDER: join(folder, "tasks") };
  const first = await runExample(`tsx ${EMBEDDED}`, env);
  const second = await runExample(`tsx ${EMBEDDED}`, env);
  const expected = expectedOutput(String(EMBEDDED));
  const [, last] = expected.split("\n");
  expect([first, second]).toMatchObject([first, second].map(() => ({ exitCode: 0, stderr: "" })));
  expect([first.stdout, second.stdout]).toEqual([`${last}\n`, expected]);
});
