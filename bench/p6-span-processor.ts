// A span of one's own inside a task, with TaskSpanProcessor registered and without.
import { trace } from "@opentelemetry/api";
import { runAttempt } from "otel-taskflow";
import { TaskSpanProcessor } from "otel-taskflow/sdk";
import { type Measurement, type Round, timed } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

const SPANS = 20_000;

export const measurements: readonly Measurement[] = [
  {
    what: "a child span inside a task, with `TaskSpanProcessor`, against without",
    unit: "ns",
    judgement: "ratio",
    target: 1.3,
    rounds: 25,
    ours: () => childSpans(true),
    peer: () => childSpans(false),
  },
];

function childSpans(processor: boolean): Round {
  startSdk(processor ? [new TaskSpanProcessor()] : []);
  const tracer = trace.getTracer("bench");
  const attributes = { "db.system.name": "postgresql", "db.operation.name": "SELECT" };
  const round = timed("ns", SPANS, () => {
    for (let n = 0; n < SPANS; n += 1) tracer.startSpan("SELECT orders", { attributes }).end();
  });
  return () => runAttempt({ funcName: "bench" }, () => round());
}
