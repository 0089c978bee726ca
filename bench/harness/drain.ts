import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Round } from "./measurement.js";
import { type Library, type SideName, WAYS } from "./ways.js";
import type { Count } from "./worker-process.js";

const PROGRAM = fileURLToPath(new URL("worker-process.js", import.meta.url));
/** A round that takes longer will never end. */
const ROUND_MS = 60_000;

/**
 * So many processes drain a backlog of no-op tasks; µs per task, from the first that runs anywhere to the last. What
 * their start takes does not count.
 */
export async function drainRounds(
  ...[library, side, processes, tasks]: [library: Library, side: SideName, processes: number, tasks: number]
): Promise<Round> {
  const store = `bench_${process.pid}`;
  const way = await WAYS[library][side](store);
  const workers = await Promise.all(Array.from({ length: processes }, () => startWorker(library, side, store)));
  process.once("disconnect", async () => {
    for (const worker of workers) worker.disconnect();
    await way.remove();
    process.exit(); // a manager for adding may have connections
  });
  return async () => {
    await way.fill(tasks);
    const counts = untilAll(workers, tasks);
    await Promise.all(workers.map((worker) => tell(worker, "start")));
    const micros = spanOf(await counts) * 1e3;
    await Promise.all(workers.map((worker) => tell(worker, "stop")));
    await way.empty();
    return micros / tasks;
  };
}

async function startWorker(library: Library, side: SideName, store: string): Promise<ChildProcess> {
  const worker = fork(PROGRAM, [library, side, store], { execArgv: ["--enable-source-maps"] });
  worker.once("exit", (code, signal) => {
    if (code !== 0) throw new Error(`a worker process of ${library}, ${side}, ended with ${signal ?? code}`);
  });
  await until(worker, "open");
  return worker;
}

async function tell(worker: ChildProcess, command: "start" | "stop"): Promise<void> {
  const done = until(worker, command);
  worker.send(command);
  await done;
}

function until(worker: ChildProcess, wanted: string): Promise<void> {
  return new Promise((resolve) => {
    const listen = (message: unknown): void => {
      if (message !== wanted) return;
      worker.off("message", listen);
      resolve();
    };
    worker.on("message", listen);
  });
}

function untilAll(workers: readonly ChildProcess[], tasks: number): Promise<Count[]> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${tasks} tasks took longer than ${ROUND_MS} ms`)), ROUND_MS);
    const counts = new Map<ChildProcess, Count>();
    for (const worker of workers) worker.removeAllListeners("message");
    for (const worker of workers) {
      worker.on("message", (message: Count | string) => {
        if (typeof message === "string") return;
        counts.set(worker, message);
        if ([...counts.values()].reduce((sum, { run }) => sum + run, 0) < tasks) return;
        clearTimeout(late);
        resolve([...counts.values()]);
      });
    }
  });
}

function spanOf(counts: readonly Count[]): number {
  return Math.max(...counts.map(({ lastAt }) => lastAt)) - Math.min(...counts.map(({ firstAt }) => firstAt));
}
