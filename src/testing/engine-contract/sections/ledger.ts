import { setTimeout as wait } from "node:timers/promises";
import { NonRetryableError, type TaskHook, type TaskManager } from "../../../index.js";
import { between, equal, eventually } from "../assertions.js";
import { every, type Section } from "../case.js";
import { hang } from "../doubles.js";
import type { Rig } from "../rig.js";

const SEEDS = [1, 7];
const OPERATIONS = 80;

export const ledgerCases: Section = {
  title: "the ledger",
  cases: [
    ...SEEDS.map((seed) =>
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

    every("tells one end of each task, and one of those who cancel it, whoever they are and whenever", async (rig) => {
      const random = randomOf(3);
      const told: string[] = [];
      let cancelled = 0;
      const cancel = async (id: string): Promise<void> => {
        if (await tasks.cancel(id)) cancelled += 1;
      };
      const cancelNowAndThen: TaskHook = ({ context }) => (random() < 0.3 ? cancel(context.taskId) : undefined);
      const note =
        (end: string): TaskHook =>
        async (event) => {
          told.push(`${event.context.taskId} ${end}`);
          await cancelNowAndThen(event);
        };
      const tasks: TaskManager = rig.manager({
        ...{ concurrency: 10, onRetry: cancelNowAndThen },
        ...{ onSuccess: note("success"), onFailure: note("failure"), onCancel: note("cancelled") },
      });
      await tasks.work();
      const ids = await addCancelled(tasksOf(tasks, random), random, { tasks, cancel });
      await tasks.idle();
      equal(told.map((line) => line.split(" ")[0]).toSorted(), ids.toSorted());
      equal(told.filter((line) => line.endsWith("cancelled")).length, cancelled);
      equal(sumOf(rig, "task.finished"), ids.length);
    }),
  ],
};

/** Adds tasks, and has each second one cancelled by three callers, most of them at the same time. */
async function addCancelled(
  kinds: readonly ((n: number) => unknown)[],
  random: () => number,
  { tasks, cancel }: { tasks: TaskManager; cancel: (id: string) => Promise<void> },
): Promise<string[]> {
  const add = async (_: unknown, n: number): Promise<string> => {
    const id = await tasks.addTask(kinds[n % kinds.length] ?? (() => {}), [n], { delay: random() < 0.3 ? 20 : 0 });
    if (random() < 0.5) return id;
    const later = random() * 40;
    await Promise.all([0, 0, 3].map((more) => wait(later + more).then(() => cancel(id))));
    return id;
  };
  return await Promise.all(Array.from({ length: OPERATIONS }, add));
}

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
