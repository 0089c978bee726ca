import { beforeAll, describe, expect, it } from "vitest";
import { type OtlpReceiver, startOtlpReceiver } from "./otlp-receiver.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";

type Line = Record<string, unknown>;

const VARYING = ["trace_id", "span_id", "task_id"];

/** What holds for the example of every logger. */
export function describeLoggerExample(example: string): void {
  it("prints what its closing comment says, and the trace of these lines on stderr", async () => {
    const run = await runExample(`tsx ${example}`);
    expect(run.exitCode).toBe(0);
    expect(relabelled(linesOf(run.stdout))).toEqual(relabelled(linesOf(expectedOutput(example))));
    expect(run.stderr).toContain(`trace ${linesOf(run.stdout)[1]?.trace_id} `);
  });

  describe("with OTEL_EXPORTER_OTLP_ENDPOINT", () => {
    let receiver: OtlpReceiver;
    let run: Run;
    beforeAll(async () => {
      receiver = await startOtlpReceiver();
      const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_HEADERS: "x-team=orders" };
      run = await runExample(`tsx ${example}`, env);
      return () => receiver.close();
    });

    it("sends traces only, with the headers of the environment, and ends without a word on stderr", () => {
      expect(run).toMatchObject({ exitCode: 0, stderr: "" });
      const requests = receiver.requests.map(({ path, headers }) => [path, headers["x-team"]]);
      expect(new Set(requests.map(String))).toEqual(new Set(["/v1/traces,orders"]));
    });

    it("names on each line of the task the attempt's span that was sent", () => {
      const inTask = linesOf(run.stdout).filter((line) => line.task_id !== undefined);
      expect(inTask).toHaveLength(3);
      for (const line of inTask) {
        const span = receiver.spans.find(({ spanId }) => spanId === line.span_id);
        expect(span).toMatchObject({ name: "process chargeCard", traceId: line.trace_id });
        expect(span?.attributes).toMatchObject({ "task.id": line.task_id, "task.attempt": line.task_attempt });
      }
    });
  });
}

function linesOf(stdout: string): Line[] {
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

/** The lines without times and the process, and each id by the order of its first appearance. */
function relabelled(lines: readonly Line[]): Line[] {
  const ids: unknown[] = [];
  return lines.map(({ time: _time, timestamp: _timestamp, pid: _pid, hostname: _hostname, ...line }) => {
    for (const key of VARYING.filter((name) => name in line)) {
      if (!ids.includes(line[key])) ids.push(line[key]);
      line[key] = ids.indexOf(line[key]);
    }
    return line;
  });
}
