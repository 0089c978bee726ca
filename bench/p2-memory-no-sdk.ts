// The memory engine without an SDK, against the same features put together by hand.
import PQueue from "p-queue";
import { managerBatches, queueBatches } from "./harness/batches.js";
import { handmadeTasks } from "./harness/by-hand.js";
import type { Measurement } from "./harness/measurement.js";

const tags = { plan: "enterprise", region: "eu-west-1" };
const common = { unit: "µs", judgement: "ratio", target: 1, rounds: 15 } as const;

export const measurements: readonly Measurement[] = [
  {
    ...common,
    what: "a no-op task, no SDK, against p-queue + p-retry + UUID + AsyncResource + AsyncLocalStorage",
    ours: () => managerBatches(),
    peer: () => {
      const queue = new PQueue();
      return queueBatches(queue, handmadeTasks(queue));
    },
  },
  {
    ...common,
    what: "the same, each task with two tags",
    ours: () => managerBatches(tags),
    peer: () => {
      const queue = new PQueue();
      const add = handmadeTasks(queue);
      return queueBatches(queue, (fn) => add(fn, tags));
    },
  },
];
