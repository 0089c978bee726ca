import type { TaskManager } from "../../../index.js";
import { equal, eventually } from "../assertions.js";
import { type Case, durable, every, type Section } from "../case.js";
import { deferred, hang } from "../doubles.js";
import type { Rig } from "../rig.js";

const CALLERS = 3;
const TASKS = 8;

export const cancelTogetherCases: Section = {
  title: "a task cancelled by several at once",
  cases: [
    toldOnce("that waits", (rig, tasks) => waitingTasks(rig, tasks)),
    toldOnce("that waits for its retry", (rig, tasks) => retryingTasks(rig, tasks)),
    toldOnce("that runs", (rig, tasks) => runningTasks(rig, tasks)),

    durable("of two processes is told once, counted once, and cancelled for one of them", async (rig) => {
      const told: string[] = [];
      const onCancel: NoteCancel = ({ context }) => void told.push(context.taskId);
      const managers = [rig.manager({ onCancel }), rig.manager({ onCancel })] as const;
      const ids = await waitingTasks(rig, managers[0]);
      managers[1].task("task", () => {});
      for (const id of ids) {
        const answers = await Promise.all([...managers, ...managers].map((tasks) => tasks.cancel(id)));
        equal([id, answers.filter(Boolean).length], [id, 1]);
      }
      for (const tasks of managers) await tasks.idle();
      equal(told.toSorted(), ids.toSorted());
      equal(cancelledIn(rig), ids.length);
    }),
  ],
};

type NoteCancel = (event: { readonly context: { readonly taskId: string } }) => void;

/** Each task is told of once and counted once, and one of its callers hears that it has cancelled it. */
function toldOnce(which: string, put: (rig: Rig, tasks: TaskManager) => Promise<string[]>): Case {
  return every(`${which} is told once, counted once, and cancelled for one of them`, async (rig) => {
    const told: string[] = [];
    const tasks = rig.manager({ concurrency: TASKS, onCancel: ({ context }) => void told.push(context.taskId) });
    const ids = await put(rig, tasks);
    for (const id of ids) {
      const answers = await Promise.all(Array.from({ length: CALLERS }, () => tasks.cancel(id)));
      equal([id, answers.toSorted()], [id, [false, false, true]]);
    }
    await tasks.idle();
    equal(told.toSorted(), ids.toSorted());
    equal(cancelledIn(rig), ids.length);
  });
}

async function waitingTasks(_rig: Rig, tasks: TaskManager): Promise<string[]> {
  const task = tasks.task("task", () => {});
  await tasks.work();
  return await addMany(() => tasks.addTask(task, [], { delay: 60_000 }));
}

async function retryingTasks(rig: Rig, tasks: TaskManager): Promise<string[]> {
  const fails = (): Promise<never> => Promise.reject(new Error("later"));
  const task = tasks.task({ name: "task", retries: 1, delay: 60_000 }, fails);
  const ids = await addMany(() => tasks.addTask(task));
  await tasks.work();
  await eventually(() => equal(rig.named("process task").length, ids.length));
  for (const id of ids) await eventually(() => rig.isStored(id, "delayed", "queued", undefined));
  return ids;
}

async function runningTasks(_rig: Rig, tasks: TaskManager): Promise<string[]> {
  const started = deferred();
  let running = 0;
  const task = tasks.task("task", () => {
    running += 1;
    if (running === TASKS) started.resolve();
    return hang();
  });
  await tasks.work();
  const ids = await addMany(() => tasks.addTask(task));
  await started.promise;
  return ids;
}

function addMany(add: () => Promise<string>): Promise<string[]> {
  return Promise.all(Array.from({ length: TASKS }, add));
}

function cancelledIn(rig: Rig): number {
  const finished = rig.totals("task.finished").filter(({ attributes }) => attributes["task.outcome"] === "cancelled");
  return finished.reduce((sum, { value }) => sum + value, 0);
}
