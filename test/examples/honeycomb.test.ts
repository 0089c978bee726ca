import { beforeAll, describe, expect, it } from "vitest";
import { type OtlpReceiver, startOtlpReceiver } from "./otlp-receiver.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";

const EXAMPLE = "examples/honeycomb.ts";
const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

interface OtlpLogs {
  resourceLogs: { scopeLogs: { logRecords: OtlpLogRecord[] }[] }[];
}

interface OtlpLogRecord {
  readonly body: { stringValue: string };
  readonly spanId: string;
  readonly attributes: { key: string; value: { stringValue?: string } }[];
}

describe("examples/honeycomb.ts", () => {
  let receiver: OtlpReceiver;
  let run: Run;
  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" };
    run = await runExample(`tsx ${EXAMPLE}`, { ...env, HONEYCOMB_API_KEY: "key=1", HONEYCOMB_DATASET: "all tasks" });
    return () => receiver.close();
  });

  it("prints what its closing comment says, and exits by itself", () => {
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const [expected] = expectedOutput(EXAMPLE).replace(UUID, "ID").split("\n\n");
    expect(run.stdout.replace(UUID, "ID")).toBe(`${expected}\n`);
  });

  it("sends traces and logs, each request with the key and the dataset", () => {
    const paths = receiver.requests.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(["/v1/traces", "/v1/logs"]));
    for (const { headers } of receiver.requests) {
      expect(headers).toMatchObject({ "x-honeycomb-team": "key=1", "x-honeycomb-dataset": "all tasks" });
    }
  });

  it("sends one failed attempt of plan=enterprise, with what else is asked for there", () => {
    const failed = receiver.spans.filter(({ attributes }) => attributes["task.outcome"] === "failure");
    expect(failed).toHaveLength(1);
    expect(failed[0]?.attributes).toMatchObject({
      ...{ "task.tag.plan": "enterprise", "task.name": "chargeCard", "error.type": "NonRetryableError" },
      ...{ "task.attempt": 0, "task.wait.duration": expect.any(Number) },
    });
  });

  it("sends each line as a record with the task's id, on the span of its attempt", () => {
    const logs = receiver.requests.filter(({ path }) => path === "/v1/logs").map(({ body }) => body as OtlpLogs);
    const records = logs.flatMap(({ resourceLogs }) => resourceLogs.flatMap(({ scopeLogs }) => scopeLogs));
    const lines = records.flatMap(({ logRecords }) => logRecords);
    expect(lines.map(({ body }) => body.stringValue).sort()).toEqual([
      ...["Card charged", "Card charged", "Charging card", "Charging card", "Charging card"],
    ]);
    for (const { spanId, attributes } of lines) {
      const span = receiver.spans.find((one) => one.spanId === spanId);
      const id = attributes.find(({ key }) => key === "task.id");
      expect(id?.value.stringValue).toBe(span?.attributes["task.id"]);
    }
  });
});

it("says what is missing where there is no key, and sends nothing", async () => {
  const run = await runExample(`tsx ${EXAMPLE}`, { HONEYCOMB_API_KEY: "" });
  expect(run).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining("HONEYCOMB_API_KEY") });
});
