import { setTimeout as wait } from "node:timers/promises";
import {
  type AddTaskOptions,
  getTaskContext,
  isTaskStoreError,
  NonRetryableError,
  type TaskManager,
  taskLog,
} from "otel-taskflow";

/** A load of tasks of every kind; what each does is decided by the random numbers alone. */
export interface Mix {
  /** Adds a task and perhaps cancels it: resolves once both calls have. */
  add(): Promise<void>;
}

/** How many tasks were numbered, those that tasks added themselves included, and how many of them were refused. */
export interface Numbering {
  next: number;
  /** A task that runs while its manager shuts down can add none any more. */
  refused: number;
  /** Those of which the store had said nothing when their manager shut down: they are tasks, or are none. */
  unknown: number;
}

/** Registers the tasks of the mix; managers that share a numbering number their tasks together. */
export function createMix(tasks: TaskManager, random: () => number, numbering: Numbering): Mix {
  const child = tasks.task("child", () => taskLog("added by another task"));
  const kinds = [
    tasks.task("returns", () => {}),
    tasks.task("logs", (line: string) => {
      for (let index = 0; index < 3; index += 1) taskLog(line, { index });
    }),
    tasks.task("waits", async () => {
      await wait(1, undefined, { signal: getTaskContext()?.signal });
    }),
    tasks.task({ name: "fails once", retries: 2, delay: 1, jitter: 0.5 }, () => {
      if (getTaskContext()?.attempt === 0) throw new Error("not yet");
    }),
    tasks.task({ name: "gives up", retries: 1, delay: 1 }, async () => Promise.reject(new RangeError("never"))),
    tasks.task({ name: "refuses", retries: 5 }, () => {
      throw new NonRetryableError("at once");
    }),
    tasks.task({ name: "times out", timeout: 3 }, async () => {
      await wait(1_000, undefined, { signal: getTaskContext()?.signal });
    }),
    tasks.task("adds", async () => {
      await tasks.addTask(child, [], { tags: number() }).catch((error: unknown) => {
        numbering[isTaskStoreError(error) && error.stored !== false ? "unknown" : "refused"] += 1;
        throw error;
      });
    }),
  ];

  function number(): AddTaskOptions["tags"] {
    numbering.next += 1;
    return { n: String(numbering.next - 1), plan: "soak" };
  }

  return {
    async add() {
      const kind = kinds[Math.floor(random() * kinds.length)] ?? child;
      const [delayed, cancelled, later] = [random() < 0.1, random() < 0.1, random() < 0.5];
      const options = { tags: number(), ...(delayed && { delay: Math.floor(random() * 20) }) };
      const taskId = await tasks.addTask(kind as (line: string) => unknown, ["a line"], options);
      if (!cancelled) return;
      if (later) await wait(2);
      await tasks.cancel(taskId);
    },
  };
}
