import { expect, test } from "vitest";
import { scriptedEngine } from "../support/scripted-engine.js";
import { createTasks, deferred } from "../support/tasks.js";

// idle() and shutdown() inside tasks: who waits for whom.

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

test("a shutdown inside a task does not wait for that task", async () => {
  const tasks = createTasks();
  const over = deferred<unknown>();
  const task = tasks.task("task", async () => over.resolve(await tasks.shutdown({ timeout: 60_000 })));
  await tasks.addTask(task);
  expect(await over.promise).toMatchObject({ completed: 0 });
});

test.each(["outside", "inside a task"])("a shutdown from %s waits for a task that waits by idle()", async (where) => {
  let inStore = 1;
  const engine = scriptedEngine({ waiting: () => inStore });
  const tasks = createTasks({ engine });
  const [begun, over] = [deferred(), deferred<unknown>()];
  tasks.task("waiting", async () => {
    begun.resolve();
    await tasks.idle();
  });
  const stop = async (): Promise<void> => over.resolve(await tasks.shutdown());
  tasks.task("stopping", stop);
  void engine.run("waiting", "w", () => {});
  await begun.promise;
  if (where === "outside") void stop();
  else void engine.run("stopping", "s", () => {});
  await turn();
  inStore = 0;
  const stopping = { taskId: "s", funcName: "stopping", state: "active" };
  expect(await over.promise).toEqual({ completed: 1, abandoned: where === "outside" ? [] : [stopping] });
});

test("idle() inside a task resolves when the tasks that began before it have ended", async () => {
  const tasks = createTasks();
  const [release, over] = [deferred(), deferred()];
  const older = tasks.task("older", () => release.promise);
  const waiting = tasks.task("waiting", async () => {
    setTimeout(release.resolve);
    await tasks.idle();
    over.resolve();
  });
  await tasks.addTask(older);
  await tasks.addTask(waiting);
  await over.promise;
  await tasks.idle();
});

test("idle() inside a task of another manager waits for tasks that wait themselves", async () => {
  const [mine, others] = [createTasks(), createTasks()];
  const [begun, release] = [deferred(), deferred()];
  const order: string[] = [];
  const blocking = mine.task("blocking", () => release.promise);
  const waiting = mine.task("waiting", async () => {
    begun.resolve();
    await mine.idle();
    await turn();
    order.push("the waiting task has ended");
  });
  const foreign = others.task("foreign", async () => {
    await mine.idle();
    order.push("idle");
  });
  await mine.addTask(blocking);
  await mine.addTask(waiting);
  await begun.promise;
  await others.addTask(foreign);
  await turn();
  release.resolve();
  await others.idle();
  expect(order).toEqual(["the waiting task has ended", "idle"]);
});
