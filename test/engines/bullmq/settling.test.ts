import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import type { TaskManager } from "otel-taskflow";
import { type BullmqProcessor, type BullmqWorkerClass, bullmqEngine } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeVersions, type Lab, watching } from "./lab.js";

// longer than a test: no job is another's because of its age
const LOCK = { lockDuration: 60_000 };
const NOBODYS = "nobody's";

const fail = (): Promise<never> => Promise.reject(new Error("no"));

function managerOn({ bullmq, queue, connection }: Lab, workerOptions: object, Worker: unknown): TaskManager {
  const classes = { Queue: bullmq.Queue, Worker: Worker as BullmqWorkerClass };
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
