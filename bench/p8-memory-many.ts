// A queue a million deep, against one a tenth of that; and what is left of it.
import { memoryEngine, TaskManager } from "otel-taskflow";
import { heapInUse, type Measurement, timed } from "./harness/measurement.js";

const MANY = 1_000_000;
const FEW = 100_000;

export const measurements: readonly Measurement[] = [
  {
    what: "1,000,000 tasks enqueued at once and run, against 100,000",
    unit: "ms",
    judgement: "ratio",
    target: 11,
    rounds: 3,
    warmUp: 1,
    pairs: 1,
    ours: () => timed("ms", 1, taskRunner(MANY)),
    peer: () => timed("ms", 1, taskRunner(FEW)),
  },
  {
    what: "heap after 1,000,000 tasks, above the start",
    unit: "MB",
    judgement: "value",
    target: 5,
    rounds: 1,
    warmUp: 0,
    pairs: 1,
    ours: async () => {
      const run = taskRunner(MANY);
      const before = await heapInUse();
      return async () => {
        await run();
        return ((await heapInUse()) - before) / 1e6;
      };
    },
  },
];

function taskRunner(count: number): () => Promise<void> {
  const manager = new TaskManager({ engine: memoryEngine() });
  let ran = 0;
  const task = manager.task("count", () => {
    ran += 1;
  });
  return async () => {
    ran = 0;
    for (let queued = 0; queued < count; queued += 1) void manager.addTask(task);
    await manager.idle();
    if (ran !== count) throw new Error(`${ran} of ${count} tasks ran`);
  };
}
