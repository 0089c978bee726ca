import { isTaskStoreError, type TaskManager } from "otel-taskflow";
import { type BullmqQueueClass, bullmqEngine } from "otel-taskflow/bullmq";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { createTasks } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { describeVersions, type Lab } from "./lab.js";
import { type Kind, optionsOf, postgresWorld } from "./worlds.js";

type Bulk = { name: string; data: { args: unknown[] } }[];

/** A manager on a lab's queue, and the names of the methods by which it added jobs, with how many. */
function managerOn(
  lab: Lab,
  queueOptions: object = {},
  refuse: (add: (jobs: Bulk) => Promise<unknown>, jobs: Bulk) => Promise<void> = async () => {},
): { tasks: TaskManager; calls: unknown[] } {
  const calls: unknown[] = [];
  class Counting extends lab.bullmq.Queue {
    override async add(name: string, data: object, options?: object): Promise<never> {
      calls.push("add");
      return (await super.add(name, data, options)) as never;
    }
    override async addBulk(jobs: Bulk): Promise<never> {
      calls.push(jobs.length);
      await refuse((some) => super.addBulk(some), jobs);
      return (await super.addBulk(jobs)) as never;
    }
  }
  const { Worker } = lab.bullmq;
  const Queue = Counting as unknown as BullmqQueueClass;
  const engine = bullmqEngine({ Queue, Worker, connection: lab.connection, queue: lab.queue.name, queueOptions });
  return { tasks: createTasks({ engine, onNotice: false }), calls };
}

function addAtOnce(tasks: TaskManager, args: readonly unknown[]): Promise<PromiseSettledResult<string>[]> {
  const task = tasks.task("task", (_arg: unknown) => {});
  return Promise.allSettled(args.map((arg) => tasks.addTask(task, [arg])));
}

const statuses = (added: PromiseSettledResult<string>[]): string[] => added.map(({ status }) => status);

await describeVersions("tasks of the same moment", (open) => {
  test("are added by one request, in their order, twenty at most; one alone by a plain add", async () => {
    const lab = open();
    const { tasks, calls } = managerOn(lab);
    const task = tasks.task("task", (_arg: unknown) => {});
    await tasks.addTask(task, [0]);
    const added = await Promise.all(Array.from({ length: 50 }, (_, n) => tasks.addTask(task, [n + 1])));
    expect(calls).toEqual(["add", 20, 20, 10]);
    const stored = await lab.queue.getJobs(["waiting"], 0, -1, true);
    expect(stored.map(({ data }) => data.args[0])).toEqual(Array.from({ length: 51 }, (_, n) => n));
    expect(stored.slice(1).map(({ id }) => id)).toEqual(added);
  });

  test("are told what is known of each, where Redis took some of them and refused others", async () => {
    collectDiag();
    const lab = open();
    const { tasks } = managerOn(lab, {}, async (add, jobs) => {
      await add(jobs.slice(0, 1));
      throw new Error("OOM command not allowed when used memory > 'maxmemory'");
    });
    const [first, ...others] = await addAtOnce(tasks, [1, 2, 3]);
    expect([first?.status, await lab.queue.getWaitingCount()]).toEqual(["fulfilled", 1]);
    const reasons = others.map((one) => (one.status === "rejected" ? one.reason : undefined));
    expect(reasons).toEqual(others.map(() => expect.toSatisfy(isTaskStoreError)));
    expect(reasons.map(({ stored }) => stored)).toEqual([undefined, undefined]);
  });

  test.each([
    ["a limit of each job's size", { defaultJobOptions: { sizeLimit: 400 } }],
    ["telemetry of BullMQ's own", { telemetry: undefined as unknown }],
  ])("are each added alone with %s", async (what, options) => {
    const lab = open();
    const isLimited = "defaultJobOptions" in options;
    const { BullMQOtel } = await import("bullmq-otel");
    const { tasks, calls } = managerOn(lab, isLimited ? options : { telemetry: new BullMQOtel() });
    const added = await addAtOnce(tasks, [1, isLimited ? "x".repeat(1_000) : 2, 3]);
    expect(calls, what).toEqual(["add", "add", "add"]);
    expect(statuses(added)).toEqual(["fulfilled", isLimited ? "rejected" : "fulfilled", "fulfilled"]);
  });
});

const world = await postgresWorld();
afterAll(() => world.close());
if (world.unavailable !== undefined) describeUnavailable("tasks of the same moment, PostgreSQL", world.unavailable);
else {
  describe("tasks of the same moment, PostgreSQL", () => {
    test("are added though one of them is refused for what it holds", async () => {
      const store = await world.create();
      onTestFinished(() => store.close());
      const { kind, url, queue } = JSON.parse(store.location) as { kind: Kind; url: string; queue: string };
      const { Queue, ...others } = optionsOf(kind, url);
      const tasks = createTasks({ engine: bullmqEngine({ Queue, ...others, queue }), onNotice: false });
      const added = await addAtOnce(tasks, ["one", "a NUL: \0", "two"]);
      expect(statuses(added)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      for (const one of added) {
        if (one.status === "fulfilled") expect(await store.stateOf(one.value)).toBe("queued");
        else expect(isTaskStoreError(one.reason)).toBe(false);
      }
    });
  });
}
