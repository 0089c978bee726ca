// getTaskContext() inside a task, against reading any value of the active OpenTelemetry context.
import { context, createContextKey } from "@opentelemetry/api";
import { getTaskContext, runAttempt } from "otel-taskflow";
import { type Measurement, type Round, timed } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

const CALLS = 1_000_000;
const key = createContextKey("bench");

export const measurements: readonly Measurement[] = [
  {
    what: "`getTaskContext()` inside a task, against `context.active().getValue(key)` there",
    unit: "ns",
    judgement: "ratio",
    target: 1.3,
    rounds: 15,
    ours: () => insideTask(() => getTaskContext()),
    peer: () => insideTask(() => context.active().getValue(key)),
  },
];

// Both sides read in the same place: a task, its context extended by one key.
function insideTask(read: () => unknown): Round {
  startSdk();
  const round = timed("ns", CALLS, () => {
    let found = 0;
    for (let call = 0; call < CALLS; call += 1) if (read() !== undefined) found += 1;
    if (found !== CALLS) throw new Error("nothing was read");
  });
  return () => runAttempt({ funcName: "bench" }, () => context.with(context.active().setValue(key, {}), () => round()));
}
