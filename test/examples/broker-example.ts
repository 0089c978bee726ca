import { expect } from "vitest";
import type { ReceivedSpan } from "./otlp-receiver.js";
import { printedFacts } from "./printed-facts.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";

export type Side = "producer" | "worker";

/** Runs one side of a broker's example. */
export function runSide(folder: string, side: Side, env: Record<string, string>): Promise<Run> {
  return runExample(`tsx ${folder}/${side}.ts`, env);
}

/** Runs both sides at once, and compares what they print with their closing comments. */
export async function expectPrinted(folder: string, env: Record<string, string>): Promise<void> {
  const sides: Side[] = ["worker", "producer"];
  const runs = await Promise.all(sides.map((side) => runSide(folder, side, env)));
  for (const [index, run] of runs.entries()) {
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    expect(printedFacts(run.stdout)).toEqual(printedFacts(expectedOutput(`${folder}/${sides[index]}.ts`)));
  }
}

export function named(spans: readonly ReceivedSpan[], prefix: string): ReceivedSpan[] {
  return spans.filter(({ name }) => name.startsWith(prefix));
}

/** Attempt and outcome of each attempt span under the enqueue span of each order, in the orders' order. */
export function outcomesByOrder(spans: readonly ReceivedSpan[]): unknown[][] {
  return named(spans, "enqueue").map(({ traceId, spanId }) =>
    named(spans, "process")
      .filter((span) => span.traceId === traceId && span.parentSpanId === spanId)
      .map(({ attributes }) => [attributes["task.attempt"], attributes["task.outcome"]]),
  );
}

/** What becomes of the orders of every broker's example. */
export const OUTCOMES = [
  [[0, "success"]],
  [[0, "failure"]],
  [
    [0, "retry"],
    [1, "success"],
  ],
];
