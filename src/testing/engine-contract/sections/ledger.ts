import { setTimeout as wait } from "node:timers/promises";
import { NonRetryableError, type TaskManager } from "../../../index.js";
import { between, equal, eventually } from "../assertions.js";
import { every, type Section } from "../case.js";
import { hang } from "../doubles.js";
import type { Rig } from "../rig.js";

const SEEDS = [1, 7];
const OPERATIONS = 80;

export const ledgerCases: Section = {
  title: "the ledger",
  cases: SEEDS.map((seed) =>
    every(`balances under a random load with cancels: enqueued is finished, seed ${seed}`, async (rig) => {
      const tasks = rig.manager({ concurrency: 10 });
      await tasks.work();
      await load(tasks, randomOf(seed));
      await tasks.idle();
      const enqueued = sumOf(rig, "task.enqueued");
      between(enqueued, 21, OPERATIONS);
      await eventually(() => equal(sumOf(rig, "task.finished"), enqueued));
      equal(sumOf(rig, "task.attempt.active"), 0);
    }),
  ),
};

/** Numbers from 0 to 1, the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x7fffffff;
  };
}

/** Tasks that end in every way, some of them late. */
function tasksOf(tasks: TaskManager, random: () => number): ((n: number) => unknown)[] {
  const functions: (() => unknown)[] = [
    () => {},
    () => wait(3),
    () => {
      if (random() < 0.5) throw new Error("now and then");
    },
    () => wait(2).then(() => Promise.reject(new RangeError("always"))),
    () => {
      throw new NonRetryableError("never again");
    },
    hang,
  ];
  return functions.map((fn, index) => {
    const timeout = fn === hang ? { timeout: 5 } : {};
    return tasks.task({ name: `task-${index}`, retries: index % 3, delay: index % 2, ...timeout }, (_n: number) =>
      fn(),
    );
  });
}

/** Adds tasks, many under ids that are live already, and cancels some; each task is cancelled by one caller at most. */
async function load(tasks: TaskManager, random: () => number): Promise<void> {
  const pick = (count: number): number => Math.floor(random() * count);
  const kinds = tasksOf(tasks, random);
  const cancelled = new Set<string>();
  const add = async (): Promise<void> => {
    const kind = kinds[pick(kinds.length)] ?? (() => {});
    const shared = random() < 0.4 ? { taskId: `id-${pick(12)}` } : {};
    const delay = random() < 0.2 ? { delay: pick(20) } : {};
    const id = await tasks.addTask(kind, [pick(9)], { ...shared, ...delay });
    if (random() > 0.3 || cancelled.has(id)) return;
    cancelled.add(id);
    await tasks.cancel(id);
  };
  const running: Promise<void>[] = [];
  for (let n = 0; n < OPERATIONS; n += 1) {
    running.push(add());
    if (n % 8 === 7) await Promise.all(running.splice(0));
  }
  await Promise.all(running);
}

function sumOf(rig: Rig, metric: string): number {
  return rig.totals(metric).reduce((sum, { value }) => sum + value, 0);
}
