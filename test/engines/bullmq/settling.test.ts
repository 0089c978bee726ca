import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import type { TaskManager } from "otel-taskflow";
import {
  type BullmqProcessor,
  type BullmqQueueClass,
  type BullmqWorkerClass,
  bullmqEngine,
} from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Lab, watching } from "./lab.js";

// longer than a test: no job is another's because of its age
const LOCK = { lockDuration: 60_000 };
const NOBODYS = "nobody's";

const fail = (): Promise<never> => Promise.reject(new Error("no"));

function managerOn(
  { bullmq, queue, connection }: Lab,
  workerOptions: object,
  Worker: unknown,
  Queue: BullmqQueueClass = bullmq.Queue,
): TaskManager {
  const classes = { Queue, Worker: Worker as BullmqWorkerClass };
  const engine = bullmqEngine({ ...classes, connection, queue: queue.name, workerOptions });
  return createTasks({ engine, onNotice: false });
}

await describeVersions("the end of a task in BullMQ", (open) => {
  test("is told to the worker's own listeners as it is, and nothing of a job that is given back", async () => {
    collectDiag();
    const lab = open();
    const told: string[] = [];
    class Told extends (lab.bullmq.Worker as unknown as BullmqWorkerClass) {
      constructor(name: string, processor: BullmqProcessor, options: never) {
        super(name, processor, options);
        this.on("completed", (job) => void told.push(`completed ${job.name}`));
        this.on("failed", (job) => void told.push(`failed ${job?.name}`));
      }
    }
    const [tasks, other] = [managerOn(lab, LOCK, Told), managerOn(lab, LOCK, lab.bullmq.Worker)];
    const unknown = await other.addTask(other.task(NOBODYS, () => {}));
    await tasks.addTask(tasks.task("succeeds", () => {}));
    await tasks.addTask(tasks.task({ name: "fails", retries: 1 }, fail));
    await tasks.work();
    await lab.reaches("delayed", unknown);
    await vi.waitUntil(() => told.length === 3, 10_000);
    await tasks.shutdown();
    expect(told.toSorted()).toEqual(["completed succeeds", "failed fails", "failed fails"]);
  });

  test.each([
    ["a success", 0, () => {}],
    ["a failure", 0, fail],
    ["a failure that is retried", 1, fail],
  ])("brings a worker that shuts down no other task: %s", async (_what, retries, ends) => {
    const lab = open();
    const tasks = managerOn(lab, { ...LOCK, concurrency: 1 }, lab.bullmq.Worker);
    const [started, gate] = [deferred(), deferred()];
    const task = tasks.task({ name: "task", retries, delay: 60_000 }, async () => {
      started.resolve();
      await gate.promise;
      await ends();
    });
    const [, next = ""] = [await tasks.addTask(task), await tasks.addTask(task)];
    await tasks.work();
    await started.promise;
    const over = tasks.shutdown();
    gate.resolve();
    await over;
    const job = await lab.queue.getJob(next);
    expect([await job?.getState(), job?.attemptsStarted]).toEqual(["waiting", 0]);
  });

  test.each([-4, -9])("keeps the task's own reason where BullMQ first refuses to store it (%i)", async (code) => {
    collectDiag();
    const lab = open();
    const asked: string[] = [];
    const Worker = watching(lab, (job) => {
      const move = job.moveToFailed.bind(job);
      job.moveToFailed = async (error, token, fetchNext) => {
        asked.push(error.message);
        if (asked.length === 1) throw Object.assign(new Error("the job has children"), { code });
        return await move(error, token, fetchNext);
      };
    });
    const tasks = managerOn(lab, LOCK, Worker);
    const id = await tasks.addTask(tasks.task("fails", fail));
    await tasks.work();
    expect(await lab.reaches("failed", id)).toMatchObject({ failedReason: "Error: no" });
    expect(asked).toEqual(["Error: no", "Error: no"]);
  });

  test("is stored though nobody could say for a while whether a try before had stored it", async () => {
    const diag = collectDiag();
    const lab = open();
    let looks = 0;
    class Silent extends lab.bullmq.Queue {
      override async getJob(id: string): Promise<never> {
        looks += 1;
        if (looks <= 3) throw Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
        return (await super.getJob(id)) as never;
      }
    }
    let stores = 0;
    const Worker = watching(lab, (job) => {
      const complete = job.moveToCompleted.bind(job);
      job.moveToCompleted = async (...args) => {
        stores += 1;
        if (stores === 1) throw Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
        return await complete(...args);
      };
    });
    const tasks = managerOn(lab, LOCK, Worker, Silent);
    const id = await tasks.addTask(tasks.task("task", () => {}));
    await tasks.work();
    await tasks.idle();
    expect([looks, stores, await lab.queue.getJobState(id)]).toEqual([4, 2, "unknown"]);
    expect(diag.join()).not.toContain("is not stored");
  });

  test("is told to BullMQ's events as the last of all attempts, where it is", async () => {
    const lab = open();
    const events = new lab.bullmq.QueueEvents(lab.queue.name, { connection: lab.connection });
    onTestFinished(() => events.close());
    const exhausted: [string, string][] = [];
    events.on("retries-exhausted", ({ jobId, attemptsMade }) => void exhausted.push([jobId, attemptsMade]));
    await events.waitUntilReady();
    const tasks = managerOn(lab, LOCK, lab.bullmq.Worker);
    const id = await tasks.addTask(tasks.task({ name: "fails", retries: 1 }, fail));
    await tasks.work();
    await vi.waitUntil(() => exhausted.length > 0, 10_000);
    expect(exhausted).toEqual([[id, "2"]]);
  });

  test("is put off for the five seconds that an unknown task is given back for", async () => {
    collectDiag();
    const lab = open();
    const [tasks, other] = [managerOn(lab, LOCK, lab.bullmq.Worker), managerOn(lab, LOCK, lab.bullmq.Worker)];
    const id = await other.addTask(other.task(NOBODYS, () => {}));
    await tasks.work();
    const { delay } = await lab.reaches("delayed", id);
    expect(delay).toBeGreaterThan(4_000);
    expect(delay).toBeLessThanOrEqual(5_000);
  });

  test("of a retry, lost with its worker when the next was noted, leaves the same attempt to the next worker", async () => {
    const telemetry = startTelemetry();
    collectDiag();
    const lab = open();
    const lock = { lockDuration: 1_000, stalledInterval: 500 };
    const Dying = watching(lab, (job) => {
      if (job.attemptsMade === 1) job.moveToFailed = () => new Promise(() => {});
    });
    const [dies, stays] = [managerOn(lab, lock, Dying), managerOn(lab, lock, lab.bullmq.Worker)];
    let runs = 0;
    const run = async (): Promise<void> => {
      runs += 1;
      if (runs <= 2) await fail();
    };
    await dies.addTask(dies.task({ name: "flaky", retries: 2 }, run));
    stays.task({ name: "flaky", retries: 2 }, run);
    await dies.work();
    await vi.waitUntil(() => runs === 2, 10_000);
    await stays.work();
    await vi.waitUntil(() => telemetry.named("process flaky").length === 3, 15_000);
    const [first, , again] = telemetry.named("process flaky");
    expect(again?.attributes).toMatchObject({ "task.attempt": 1, "task.redelivered": true, "task.outcome": "success" });
    const previous = again?.links.filter(({ attributes }) => attributes?.["task.link"] === "previous_attempt");
    expect(previous?.map(({ context }) => context.spanId)).toEqual([first?.spanContext().spanId]);
    expect(again?.attributes["task.wait.duration"]).toBeGreaterThan(0);
  });

  test("has the retry start no earlier than it is due, to the millisecond", async () => {
    const lab = open();
    const tasks = managerOn(lab, LOCK, lab.bullmq.Worker);
    const ids = [];
    const task = tasks.task({ name: "fails", retries: 1, delay: 60_000.5 }, fail);
    for (let n = 0; n < 10; n += 1) ids.push(await tasks.addTask(task));
    await tasks.work();
    const redis = new Redis(lab.connection);
    onTestFinished(() => redis.disconnect());
    for (const id of ids) {
      const { data } = await lab.reaches("delayed", id);
      // BullMQ multiplies the time, to have room for an order among equals
      const startsAt = Math.floor(Number(await redis.zscore(lab.queue.toKey("delayed"), id)) / 0x1000);
      expect(startsAt).toBeGreaterThanOrEqual(data.next.dueAt);
    }
  });

  test("is not yet there for a task that was given back: whoever gave it back can cancel it", async () => {
    collectDiag();
    const lab = open();
    const [tasks, other] = [managerOn(lab, LOCK, lab.bullmq.Worker), managerOn(lab, LOCK, lab.bullmq.Worker)];
    const id = await other.addTask(other.task(NOBODYS, () => {}));
    await tasks.work();
    await lab.reaches("delayed", id);
    expect([await tasks.cancel(id), await lab.queue.getJobState(id)]).toEqual([true, "unknown"]);
  });

  test("by a cancel is of that task alone: another of its id runs at once", async () => {
    const lab = open();
    const tasks = managerOn(lab, LOCK, lab.bullmq.Worker);
    const run = vi.fn();
    const task = tasks.task("task", run);
    await tasks.work();
    await tasks.addTask(task, ["first"], { taskId: "order-7", delay: 60_000 });
    expect(await tasks.cancel("order-7")).toBe(true);
    await tasks.addTask(task, ["second"], { taskId: "order-7" });
    await vi.waitUntil(() => run.mock.calls.length > 0, 10_000);
    expect(run.mock.calls).toEqual([["second"]]);
  });

  test("that is never stored leaves no job in BullMQ's worker when that is closed", async () => {
    collectDiag();
    const lab = open();
    let ended = 0;
    class Counting extends (lab.bullmq.Worker as unknown as BullmqWorkerClass) {
      constructor(name: string, processor: BullmqProcessor, options: never) {
        const counted: BullmqProcessor = async (job, token) => {
          job.moveToDelayed = () => Promise.reject(new Error("OOM"));
          await processor(job, token).finally(() => {
            ended += 1;
          });
        };
        super(name, counted, options);
      }
    }
    const tasks = managerOn(lab, LOCK, Counting);
    const started = deferred();
    const hangs = (): Promise<never> => {
      started.resolve();
      return new Promise(() => {});
    };
    await tasks.addTask(tasks.task("hangs", hangs));
    await tasks.work();
    await started.promise;
    await tasks.shutdown({ timeout: 0 });
    await vi.waitUntil(() => ended === 1, 10_000);
  });

  test("is not stored by giving back a job that another worker has by now", async () => {
    const diag = collectDiag();
    const lab = open();
    const tasks = managerOn(lab, LOCK, lab.bullmq.Worker);
    const started = deferred();
    const id = await tasks.addTask(
      tasks.task("hangs", () => {
        started.resolve();
        return new Promise(() => {});
      }),
    );
    await tasks.work();
    await started.promise;
    const redis = new Redis(lab.connection);
    onTestFinished(() => redis.disconnect());
    await redis.set(`${lab.queue.toKey(id)}:lock`, "another's");
    await tasks.shutdown({ timeout: 0 });
    expect(await lab.queue.getJobState(id)).toBe("active");
    expect(diag.join()).toContain(`the end of task ${id} is not stored: it will run again`);
  });

  test("leaves the job with its worker while the retry is noted, however long that takes", async () => {
    const lab = open();
    const lock = { lockDuration: 1_000, stalledInterval: 500 };
    const Worker = watching(lab, (job) => {
      const update = job.updateData.bind(job);
      job.updateData = async (data) => {
        await wait(3_000);
        await update(data);
      };
    });
    const tasks = managerOn(lab, lock, Worker);
    const id = await tasks.addTask(tasks.task({ name: "fails", retries: 1 }, fail));
    await tasks.work();
    const job = await lab.reaches("failed", id);
    expect([job.attemptsMade, job.stalledCounter]).toEqual([2, 0]);
  });
});
