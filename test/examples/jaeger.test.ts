import { beforeAll, describe, expect, it } from "vitest";
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from "./otlp-receiver.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";

const EXAMPLE = "examples/jaeger.ts";
const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

describe("examples/jaeger.ts", () => {
  let receiver: OtlpReceiver;
  let run: Run;
  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" };
    run = await runExample(`tsx ${EXAMPLE}`, env);
    return () => receiver.close();
  });

  /** The trace ids that Jaeger finds for these tags: of one span that has them all. */
  function search(tags: Record<string, string>): Set<string> {
    const matches = ({ attributes }: ReceivedSpan): boolean =>
      Object.entries(tags).every(([name, value]) => String(attributes[name]) === value);
    return new Set(receiver.spans.filter(matches).map(({ traceId }) => traceId));
  }

  it("prints what its closing comment says, and exits by itself", () => {
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const [expected] = expectedOutput(EXAMPLE).replace(UUID, "ID").split("\n\n");
    expect(run.stdout.replace(UUID, "ID")).toBe(`${expected}\n`);
  });

  it("sends traces, and nothing that Jaeger does not take", () => {
    expect(new Set(receiver.requests.map(({ path }) => path))).toEqual(new Set(["/v1/traces"]));
    expect(JSON.stringify(receiver.requests[0]?.body)).toContain(
      '{"key":"service.name","value":{"stringValue":"orders"}}',
    );
  });

  it("is found by the tag and the outcome", () => {
    expect(search({ "task.tag.plan": "enterprise", "task.outcome": "failure" }).size).toBe(1);
    expect(search({ "task.tag.plan": "enterprise", "task.outcome": "retry" }).size).toBe(2);
    expect(search({ "task.tag.plan": "free" }).size).toBe(0);
  });

  it("is found by the printed task id, from enqueue to the second attempt", () => {
    const [id = ""] = run.stdout.match(UUID) ?? [];
    const spans = receiver.spans.filter(({ attributes }) => attributes["task.id"] === id);
    expect(search({ "task.id": id }).size).toBe(1);
    expect(spans.map(({ name, attributes }) => [name, attributes["task.attempt"]])).toEqual([
      ["enqueue chargeCard", undefined],
      ["process chargeCard", 0],
      ["process chargeCard", 1],
    ]);
  });

  it("marks the three failed attempts as errors, which Jaeger shows as error=true", () => {
    const failed = receiver.spans.filter(({ status }) => status.code === 2);
    expect(failed.map(({ attributes }) => attributes["task.outcome"]).sort()).toEqual(["failure", "retry", "retry"]);
  });
});
