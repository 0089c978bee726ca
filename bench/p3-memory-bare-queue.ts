// The memory engine without an SDK, against a queue that does nothing else.
import { AsyncLocalStorage } from "node:async_hooks";
import PQueue from "p-queue";
import { managerBatches, queueBatches } from "./harness/batches.js";
import type { Measurement, Round } from "./harness/measurement.js";

const common = { unit: "µs", judgement: "ratio", target: 4, rounds: 15 } as const;

export const measurements: readonly Measurement[] = [
  {
    ...common,
    what: "a no-op task, no SDK, against bare p-queue (no id, no retry, no context)",
    ours: () => managerBatches(),
    peer: bareQueue,
  },
  {
    ...common,
    what: "the same, in a process that uses an AsyncLocalStorage of its own",
    ours: () => new AsyncLocalStorage().run({}, () => managerBatches()),
    peer: () => new AsyncLocalStorage().run({}, bareQueue),
  },
];

function bareQueue(): Round {
  const queue = new PQueue();
  return queueBatches(queue, (fn) => void queue.add(fn));
}
