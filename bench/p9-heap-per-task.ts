// What a waiting task weighs without an SDK, against a closure waiting in a p-queue.
import { memoryEngine, TaskManager } from "otel-taskflow";
import PQueue from "p-queue";
import { heapInUse, type Measurement, type Round } from "./harness/measurement.js";

const TASKS = 100_000;

function handle(_order: number): void {}

export const measurements: readonly Measurement[] = [
  {
    what: "heap of a queued task, no SDK, against a p-queue holding a closure",
    unit: "B",
    judgement: "ratio",
    target: 4,
    rounds: 3,
    warmUp: 1,
    pairs: 1,
    ours: () => {
      const manager = new TaskManager({ engine: memoryEngine({ concurrency: 1 }) });
      const block = manager.task("block", (until: Promise<void>) => until);
      manager.task("process", handle);
      return weighing({
        block: (until) => manager.addTask(block, [until]),
        add: (order) => manager.addTask(handle, [order]),
        idle: () => manager.idle(),
      });
    },
    peer: () => {
      const queue = new PQueue({ concurrency: 1 });
      return weighing({
        block: (until) => void queue.add(() => until),
        add: (order) => void queue.add(() => handle(order)),
        idle: () => queue.onIdle(),
      });
    },
  },
];

interface Queue {
  block(until: Promise<void>): unknown;
  add(order: number): unknown;
  idle(): Promise<void>;
}

// Bytes per task, between a queue that is blocked and the same with TASKS behind that.
function weighing({ block, add, idle }: Queue): Round {
  return async () => {
    let release = (): void => {};
    await block(new Promise<void>((resolve) => (release = resolve)));
    const before = await heapInUse();
    for (let order = 0; order < TASKS; order += 1) add(order);
    const bytes = ((await heapInUse()) - before) / TASKS;
    release();
    await idle();
    return bytes;
  };
}
