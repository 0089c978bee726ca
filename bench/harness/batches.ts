import { memoryEngine, TaskManager } from "otel-taskflow";
import type PQueue from "p-queue";
import { type Round, timed } from "./measurement.js";

const CONCURRENCY = 100;
const BATCH = 1_000;
const BATCHES = 20;

async function noop(): Promise<void> {}

/** Adds batches of no-op tasks to a manager and waits for each batch's end; µs per task. */
export function managerBatches(tags?: Record<string, string>): Round {
  const manager = new TaskManager({ engine: memoryEngine({ concurrency: CONCURRENCY }) });
  manager.task("noop", noop);
  return inBatches(async () => {
    const added: Promise<string>[] = [];
    for (let task = 0; task < BATCH; task += 1) {
      added.push(tags === undefined ? manager.addTask(noop) : manager.addTask(noop, [], { tags }));
    }
    await Promise.all(added);
    await manager.idle();
  });
}

/** The same through a p-queue: `add` puts one task in. */
export function queueBatches(queue: PQueue, add: (fn: () => Promise<void>) => unknown): Round {
  queue.concurrency = CONCURRENCY;
  return inBatches(async () => {
    for (let task = 0; task < BATCH; task += 1) add(noop);
    await queue.onIdle();
  });
}

function inBatches(run: () => Promise<void>): Round {
  return timed("µs", BATCH * BATCHES, async () => {
    for (let batch = 0; batch < BATCHES; batch += 1) await run();
  });
}
