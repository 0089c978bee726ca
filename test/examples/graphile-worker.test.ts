import { beforeAll, describe, expect, it } from "vitest";
import { createDatabase, dropDatabase } from "../engines/graphile-worker/database.js";
import { postgresUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";
import { printedFacts } from "./printed-facts.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";

const PRODUCER = "examples/graphile-worker/producer.ts";
const WORKER = "examples/graphile-worker/worker.ts";
const TRACE_ID = /trace [0-9a-f]{32}/g;

const { url, unavailable } = await postgresUrl();
if (url === undefined) describeUnavailable("examples/graphile-worker", unavailable);
else describe("examples/graphile-worker", () => describeExamples(url));

function describeExamples(server: string): void {
  let producer: Run;
  let worker: Run;
  beforeAll(async () => {
    const database = await createDatabase(server);
    const env = { DATABASE_URL: database };
    producer = await runExample(`tsx ${PRODUCER}`, env);
    worker = await runExample(`tsx ${WORKER}`, env);
    await dropDatabase(server, database);
  });

  it("end by themselves, without a complaint", () => {
    expect([producer, worker]).toMatchObject([producer, worker].map(() => ({ exitCode: 0, stderr: "" })));
  });

  it("share one trace across the two processes, with what the worker enqueues itself", () => {
    const traces = [producer, worker].map(({ stdout }) => stdout.match(TRACE_ID) ?? []);
    expect(traces.map(({ length }) => length)).toEqual([1, 1]);
    expect(traces[1]).toEqual(traces[0]);
  });

  it("print what their closing comments say, apart from ids and times", () => {
    expect(printedFacts(producer.stdout)).toEqual(printedFacts(expectedOutput(PRODUCER)));
    expect(printedFacts(worker.stdout)).toEqual(printedFacts(expectedOutput(WORKER)));
  });
}
