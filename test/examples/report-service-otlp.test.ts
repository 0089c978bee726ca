import { beforeAll, describe, expect, it } from "vitest";
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from "./otlp-receiver.js";
import { type Run, runExample, startCommand } from "./run-example.js";

describe("npm start with OTEL_EXPORTER_OTLP_ENDPOINT", () => {
  let receiver: OtlpReceiver;
  let run: Run;
  let attempts: ReceivedSpan[];
  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    run = await runExample(startCommand(), { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint });
    attempts = receiver.spans.filter(isEnterpriseReport);
    return () => receiver.close();
  });

  it("sends the traces that it prints", () => {
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const sent = new Set(receiver.spans.map(({ traceId }) => `trace ${traceId}`));
    expect(run.stdout.match(/^trace \w+/gm)?.sort()).toEqual([...sent].sort());
  });

  it("keeps the attempts of a task, counted from zero, in one trace", () => {
    expect(attempts.map(({ attributes }) => [attributes["task.attempt"], attributes["task.outcome"]])).toEqual([
      [0, "retry"],
      [1, "retry"],
      [2, "success"],
    ]);
    expect(new Set(attempts.map(({ traceId }) => traceId)).size).toBe(1);
  });

  it("leads from the request through every attempt to the second service", () => {
    const calls = receiver.spans.filter(({ name }) => name === "GET /users/:userId/invoices");
    const way = ["POST", "POST /report", "enqueue generateReport", "process generateReport", "GET"];
    expect(calls.map((span) => wayTo(span, receiver.spans))).toEqual(
      attempts.map(() => [...way, "GET /users/:userId/invoices"]),
    );
  });
});

it("ends with the exit code of its own work when the spans cannot be exported", async () => {
  const unreachable = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT: "200" };
  const run = await runExample(startCommand(), unreachable);
  expect(run.exitCode).toBe(0);
  expect(run.stdout).toContain("attempt 2 of 3 ✓ success");
});

function isEnterpriseReport({ name, attributes }: ReceivedSpan): boolean {
  return name === "process generateReport" && attributes["task.tag.plan"] === "enterprise";
}

/** The names of the spans from the root to this one. */
function wayTo(span: ReceivedSpan, spans: readonly ReceivedSpan[]): string[] {
  const parent = spans.find(({ spanId }) => spanId === span.parentSpanId);
  return parent === undefined ? [span.name] : [...wayTo(parent, spans), span.name];
}
