import { Redis } from "ioredis";
import type { TaskManager } from "otel-taskflow";
import { type BullmqWorkerClass, bullmqEngine } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeVersions, type Lab, watching } from "./lab.js";
import { FAST } from "./worlds.js";

// longer than a test: what is found out sooner, BullMQ has said
const LOCK = { lockDuration: 60_000 };

interface Keys {
  readonly redis: Redis;
  readonly job: string;
  readonly lock: string;
  readonly active: string;
}

function managerOn({ bullmq, queue, connection }: Lab, workerOptions: object, Worker: unknown): TaskManager {
  const classes = { Queue: bullmq.Queue, Worker: Worker as BullmqWorkerClass };
  return createTasks({ engine: bullmqEngine({ ...classes, connection, queue: queue.name, workerOptions }) });
}

await describeVersions("the end of an attempt whose job", (open) => {
  test.each([
    ["is gone", /Missing key for job (\S+)\. /, ({ redis, job, lock }: Keys) => redis.del(job, lock)],
    ["has lost its lock", /Missing lock for job (\S+)\. /, ({ redis, lock }: Keys) => redis.del(lock)],
    ["another has", /Lock mismatch for job (\S+)\. /, ({ redis, lock }: Keys) => redis.set(lock, "another")],
    ["is not active", /Job (\S+) is not in the active state\. /, ({ redis, active }: Keys) => redis.del(active)],
  ])("%s is told to be lost, as BullMQ says", async (_what, message, lose) => {
    const diag = collectDiag();
    const lab = open();
    const tasks = managerOn(lab, LOCK, lab.bullmq.Worker);
    const [started, gate] = [deferred(), deferred()];
    const run = (): Promise<void> => {
      started.resolve();
      return gate.promise;
    };
    const id = await tasks.addTask(tasks.task("task", run));
    await tasks.work();
    await started.promise;
    await lose(keysOf(lab, id));
    gate.resolve();
    await vi.waitFor(() => expect(diag.join()).toContain(`the end of task ${id} could not be stored`), 5_000);
    expect(message.exec(diag.join())?.[1]).toBe(id);
  });

  test("BullMQ could not store is stored all the same, and nothing runs twice", async () => {
    const diag = collectDiag();
    const lab = open();
    const refusals = 3;
    let asked = 0;
    const Worker = watching(lab, (job) => {
      for (const method of ["moveToCompleted", "moveToFailed"] as const) {
        const store = job[method].bind(job) as (...args: unknown[]) => Promise<never>;
        job[method] = (...args: unknown[]) => {
          asked += 1;
          return asked <= refusals ? Promise.reject(new Error("OOM")) : store(...args);
        };
      }
    });
    const tasks = managerOn(lab, FAST, Worker);
    const run = vi.fn();
    const id = await tasks.addTask(tasks.task("task", run));
    await tasks.work();
    await tasks.idle();
    expect([run.mock.calls.length, asked, await lab.queue.getFailedCount()]).toEqual([1, refusals + 1, 0]);
    expect(diag.join()).toContain(`the end of task ${id} could not be stored yet`);
  });
});

function keysOf({ connection, queue }: Lab, id: string): Keys {
  const redis = new Redis(connection);
  onTestFinished(() => redis.disconnect());
  const job = queue.toKey(id);
  return { redis, job, lock: `${job}:lock`, active: queue.toKey("active") };
}
