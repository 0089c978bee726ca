// The BullMQ adapter with a recording SDK, against bullmq-otel, BullMQ alone, and BullMQ with a span by hand around the
// processor. REDIS_URL, or the usual port.
import { adds, alone, bulks, bullmqOtel, byHand, jobs, noop, ours, patched, waiting } from "./harness/bullmq-jobs.js";
import type { Measurement } from "./harness/measurement.js";

const TAG = { plan: "pro" };
const common = { unit: "µs", judgement: "ratio", rounds: 12, warmUp: 4, pairs: 3 } as const;

export const measurements: readonly Measurement[] = [
  {
    ...common,
    what: "an `addJob`, SDK recording, against `queue.add` with bullmq-otel",
    target: 1,
    ours: () => adds(ours()),
    peer: () => adds(bullmqOtel()),
  },
  {
    ...common,
    what: "the same with a tag",
    target: 1.15,
    ours: () => adds(ours(TAG)),
    peer: () => adds(bullmqOtel()),
  },
  {
    ...common,
    what: "a no-op job through `withTask`, concurrency 50, SDK recording, against bullmq-otel",
    target: 1,
    ours: () => jobs(ours(), noop),
    peer: () => jobs(bullmqOtel(), noop),
  },
  {
    ...common,
    what: "the same with a tag",
    target: 1.15,
    ours: () => jobs(ours(TAG), noop),
    peer: () => jobs(bullmqOtel(), noop),
  },
  {
    ...common,
    what: "a job that waits 5 ms through `withTask`, concurrency 50, SDK recording, against BullMQ alone",
    target: 1.03,
    ours: () => jobs(ours(), waiting),
    peer: () => jobs(alone(), waiting),
  },
  {
    ...common,
    what: "the same, against a span by hand around the processor",
    target: 1.15,
    ours: () => jobs(ours(), waiting),
    peer: () => jobs(byHand(), waiting),
  },
  {
    ...common,
    what: "a `queue.add` of a patched class, SDK recording, against `addJob`",
    target: 1.02,
    ours: () => adds(patched()),
    peer: () => adds(ours()),
  },
  {
    ...common,
    what: "a job of a patched `addBulk` of 500, SDK recording, against `addJobs`",
    target: 1.02,
    ours: () => bulks(patched()),
    peer: () => bulks(ours()),
  },
  {
    ...common,
    what: "a no-op job through a patched `Worker`, concurrency 50, SDK recording, against `withTask`",
    target: 1.02,
    ours: () => jobs(patched(), noop),
    peer: () => jobs(ours(), noop),
  },
];
