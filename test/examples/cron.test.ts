import { beforeAll, describe, expect, it } from "vitest";
import { type OtlpReceiver, startOtlpReceiver } from "./otlp-receiver.js";
import { printedFacts } from "./printed-facts.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";

describe.each([
  ["examples/cron-croner.ts", "sweepCarts"],
  ["examples/cron-node-cron.ts", "sendReport"],
])("%s", (example, name) => {
  it("prints what its closing comment says, and ends by itself", async () => {
    const run = await runExample(`tsx ${example}`);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    expect(printedFacts(run.stdout)).toEqual(printedFacts(expectedOutput(example)));
  });

  describe("to a backend", () => {
    let receiver: OtlpReceiver;
    let run: Run;
    beforeAll(async () => {
      receiver = await startOtlpReceiver();
      run = await runExample(`tsx ${example}`, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint });
      return () => receiver.close();
    });

    /** Attempt, outcome and task of the spans of each trace, the shortest trace first. */
    function runs(): unknown[][] {
      const attempts = receiver.spans.filter((span) => span.name === `process ${name}`);
      const traces = [...new Set(attempts.map(({ traceId }) => traceId))];
      const told = traces.map((id) =>
        attempts.filter(({ traceId }) => traceId === id).map(({ attributes }) => attributes),
      );
      const sorted = told.toSorted((one, other) => one.length - other.length);
      return sorted.map((spans) =>
        spans.map((one) => [one["task.attempt"], one["task.outcome"], one["task.id"] === spans[0]?.["task.id"]]),
      );
    }

    it("sends a trace of its own for each run, and a root for each", () => {
      expect(run).toMatchObject({ exitCode: 0, stderr: "", stdout: "" });
      const enqueued = receiver.spans.filter((span) => span.name === `enqueue ${name}`);
      expect(new Set(enqueued.map(({ traceId }) => traceId)).size).toBe(2);
      expect(enqueued.every(({ parentSpanId }) => !parentSpanId)).toBe(true);
      expect(receiver.spans).toHaveLength(5);
    });

    it("keeps the run that is retried apart from the one that is not", () => {
      const retried = [
        [0, "retry", true],
        [1, "success", true],
      ];
      expect(runs()).toEqual([[[0, "success", true]], retried]);
    });
  });
});
