// The memory engine with a recording SDK, against the same two spans a task written by hand.
import PQueue from "p-queue";
import { managerBatches, queueBatches } from "./harness/batches.js";
import { handmadeTracedTasks } from "./harness/by-hand.js";
import type { Measurement } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

const tags = { plan: "enterprise", region: "eu-west-1" };
const common = { unit: "µs", judgement: "ratio", target: 1, rounds: 15 } as const;

export const measurements: readonly Measurement[] = [
  {
    ...common,
    what: "a no-op task, SDK recording, against the same two spans by hand around p-queue + p-retry",
    ours: () => {
      startSdk();
      return managerBatches();
    },
    peer: () => {
      startSdk();
      const queue = new PQueue();
      return queueBatches(queue, handmadeTracedTasks(queue));
    },
  },
  {
    ...common,
    what: "the same, each task with two tags (by hand: attributes only, no baggage)",
    ours: () => {
      startSdk();
      return managerBatches(tags);
    },
    peer: () => {
      startSdk();
      const queue = new PQueue();
      const add = handmadeTracedTasks(queue);
      return queueBatches(queue, (fn) => add(fn, tags));
    },
  },
];
