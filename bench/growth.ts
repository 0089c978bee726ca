// How the cost of a task grows: with the length of the queue, the concurrency, the tags, the lines and the nesting. Each
// line holds a case against the smallest of its kind. With the number of worker processes: p12.
import { memoryEngine, TaskManager, taskLog } from "otel-taskflow";
import { type Measurement, type Round, timed } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

/** Tasks of one round. */
const TASKS = 20_000;

interface Case {
  /** Tasks enqueued at the same moment. Default 1,000. */
  readonly queue?: number;
  /** Default 100. */
  readonly concurrency?: number;
  /** Default 0. */
  readonly tags?: number;
  /** Lines that each task writes; with an SDK that records. Default none, without an SDK. */
  readonly lines?: number;
  /** Each task enqueues the next one, so many times, and a thousand do so at once. Default 1: none does. */
  readonly nesting?: number;
}

export const measurements: readonly Measurement[] = [
  ...rows("tasks enqueued at once", "queue", [1_000, 10_000, 100_000]),
  ...rows("concurrency", "concurrency", [1, 10, 100, 1_000]),
  ...rows("tags", "tags", [0, 1, 4, 16]),
  ...rows("lines, SDK recording", "lines", [0, 1, 10, 100]),
  ...rows("tasks in a chain", "nesting", [1, 10, 20]),
];

function rows(what: string, kind: keyof Case, [base, ...more]: readonly [number, ...number[]]): Measurement[] {
  return more.map((many) => ({
    what: `${what}: ${many.toLocaleString("en")}, against ${base.toLocaleString("en")}`,
    unit: "µs",
    judgement: "ratio",
    rounds: 6,
    pairs: 1,
    ours: () => tasks({ [kind]: many }),
    peer: () => tasks({ [kind]: base }),
  }));
}

function tasks({ queue = 1_000, concurrency = 100, tags = 0, lines, nesting = 1 }: Case): Round {
  if (lines !== undefined) startSdk();
  const manager = new TaskManager({ engine: memoryEngine({ concurrency }) });
  const options = { tags: Object.fromEntries(Array.from({ length: tags }, (_, tag) => [`tag${tag}`, `value ${tag}`])) };
  const task = manager.task("task", async (left: number) => {
    for (let line = 0; line < (lines ?? 0); line += 1) taskLog("row stored", { rows: line });
    if (left > 1) await manager.addTask(task, [left - 1], options);
  });
  const count = Math.max(TASKS, queue);
  return timed("µs", count, async () => {
    for (let added = 0; added < count; added += queue * nesting) {
      for (let one = 0; one < queue; one += 1) void manager.addTask(task, [nesting], options);
      await manager.idle();
    }
  });
}
