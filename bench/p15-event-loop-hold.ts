// What timers and I/O wait for while the memory engine drains tasks that compute.
import { memoryEngine, TaskManager } from "otel-taskflow";
import type { Measurement, Round } from "./harness/measurement.js";

const TASKS = 100_000;
const TASK_MS = 0.05;

const common = {
  unit: "ms",
  judgement: "value",
  target: 12 + TASK_MS,
  rounds: 3,
  warmUp: 1,
  pairs: 1,
} as const;

export const measurements: readonly Measurement[] = [100, Number.POSITIVE_INFINITY].map((concurrency) => ({
  ...common,
  what: `longest hold of the event loop, 100,000 tasks of 50 µs of CPU, concurrency ${concurrency}`,
  ours: () => holding(concurrency),
}));

// The longest time between two callbacks of a timer that is always due.
function holding(concurrency: number): Round {
  const manager = new TaskManager({ engine: memoryEngine({ concurrency }) });
  const task = manager.task("compute", compute);
  return async () => {
    const added: Promise<string>[] = [];
    for (let n = 0; n < TASKS; n += 1) added.push(manager.addTask(task));
    await Promise.all(added);
    let last = performance.now();
    let longest = 0;
    const timer = setInterval(() => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }, 1);
    await manager.idle();
    clearInterval(timer);
    return longest;
  };
}

function compute(): void {
  const until = performance.now() + TASK_MS;
  while (performance.now() < until);
}
