// taskLog as an event, against addEvent on the same span with the same attributes.
import { type Span, trace } from "@opentelemetry/api";
import { runAttempt, taskLog } from "otel-taskflow";
import type { Measurement, Round } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

// A span takes 100 lines; from there on taskLog would only count what it leaves out.
const LINES = 90;
const ATTEMPTS = 500;

export const measurements: readonly Measurement[] = [
  {
    what: "`taskLog(message, fields)` inside a task, against `span.addEvent` with the same attributes",
    unit: "ns",
    judgement: "ratio",
    target: 1.5,
    rounds: 15,
    ours: () =>
      inAttempts(() => {
        for (let line = 0; line < LINES; line += 1) taskLog("row stored", { rows: line, table: "orders" });
      }),
    peer: () =>
      inAttempts((span) => {
        for (let line = 0; line < LINES; line += 1) {
          span.addEvent("row stored", { rows: line, table: "orders", "task.log.level": "info" });
        }
      }),
  },
];

// The lines alone are timed, not the attempts around them.
function inAttempts(write: (span: Span) => void): Round {
  startSdk();
  return async () => {
    globalThis.gc?.();
    let nanoseconds = 0n;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      await runAttempt({ funcName: "bench" }, () => {
        const span = trace.getActiveSpan();
        if (!span?.isRecording()) throw new Error("no recording span");
        const start = process.hrtime.bigint();
        write(span);
        nanoseconds += process.hrtime.bigint() - start;
      });
    }
    return Number(nanoseconds) / (LINES * ATTEMPTS);
  };
}
