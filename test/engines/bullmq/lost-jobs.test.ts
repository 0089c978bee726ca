import { Redis } from "ioredis";
import type { TaskManager } from "otel-taskflow";
import { type BullmqProcessor, type BullmqWorkerClass, type BullmqWorkerJob, bullmqEngine } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeVersions, type Lab, watching } from "./lab.js";
import { FAST } from "./worlds.js";

// longer than a test: what is found out sooner, BullMQ has said
const LOCK = { lockDuration: 60_000 };

const WILL_RUN = "is not stored: it will run again";

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
    ["is gone", /Missing key for job (\S+)\. /, ({ redis, job, lock }: Keys) => redis.del(job, lock), ""],
    ["is another's", /Missing lock for job (\S+)\. /, ({ redis, job, lock }: Keys) => renew(redis, job, lock), ""],
    ["is another's, of that moment", /Missing lock for job (\S+)\. /, (keys: Keys) => replace(keys), ""],
    ["has lost its lock", /Missing lock for job (\S+)\. /, ({ redis, lock }: Keys) => redis.del(lock), WILL_RUN],
    ["another has", /Lock mismatch for job (\S+)\. /, ({ redis, lock }: Keys) => redis.set(lock, "it"), WILL_RUN],
    ["is not active", /Job (\S+) is not in the active/, ({ redis, active }: Keys) => redis.del(active), WILL_RUN],
  ])("%s is told to be lost, as BullMQ says", async (_what, message, lose, told) => {
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
    await vi.waitFor(() => expect(diag.join()).toContain(`the end of task ${id} could not be stored yet`), 10_000);
    expect(message.exec(diag.join())?.[1]).toBe(id);
    if (told !== "") await vi.waitFor(() => expect(diag.join()).toContain(told), 10_000);
    await tasks.shutdown();
    expect(/is not stored: it will run again/.exec(diag.join())?.[0] ?? "").toBe(told);
  });

  test("is to be retried, and another has, leaves alone what the job says", async () => {
    const diag = collectDiag();
    const lab = open();
    const tasks = managerOn(lab, LOCK, lab.bullmq.Worker);
    const [started, gate] = [deferred(), deferred()];
    const task = tasks.task({ name: "task", retries: 1 }, async () => {
      started.resolve();
      await gate.promise;
      throw new Error("no");
    });
    const id = await tasks.addTask(task);
    await tasks.work();
    await started.promise;
    const { redis, lock } = keysOf(lab, id);
    await redis.set(lock, "it");
    const before = (await lab.queue.getJob(id))?.data;
    gate.resolve();
    await tasks.shutdown();
    expect(diag.join()).toContain(WILL_RUN);
    expect((await lab.queue.getJob(id))?.data).toEqual(before);
  });

  test("has lost its lock is stored when BullMQ gives the job out again, and nothing runs twice", async () => {
    collectDiag();
    const lab = open();
    const tasks = managerOn(lab, { ...LOCK, stalledInterval: 500 }, lab.bullmq.Worker);
    const gate = deferred();
    const runs: string[] = [];
    const succeeds = tasks.task("succeeds", async () => {
      runs.push("succeeds");
      await gate.promise;
    });
    const fails = tasks.task("fails", async () => {
      runs.push("fails");
      await gate.promise;
      throw new Error("no");
    });
    const ids = [await tasks.addTask(succeeds), await tasks.addTask(fails)];
    await tasks.work();
    await vi.waitUntil(() => runs.length === 2, 10_000);
    for (const id of ids) {
      const { redis, lock } = keysOf(lab, id);
      await redis.del(lock);
    }
    gate.resolve();
    await tasks.idle();
    expect(runs.toSorted()).toEqual(["fails", "succeeds"]);
    expect(await Promise.all(ids.map((id) => lab.queue.getJobState(id)))).toEqual(["unknown", "failed"]);
    expect((await lab.queue.getJob(ids[1] ?? ""))?.stalledCounter).toBe(1);
  });

  test("is stored by one request, which brings the next job; further tries bring none", async () => {
    const diag = collectDiag();
    const lab = open();
    const fetched: unknown[] = [];
    const Worker = watching(lab, (job) => {
      const refuse = refusing(new Map(), { [fetched.length < 1 ? "moveToCompleted" : "none"]: 1 });
      refuse(job);
      for (const method of ["moveToCompleted", "moveToFailed"] as const) {
        const store = job[method].bind(job) as (...args: unknown[]) => Promise<never>;
        job[method] = (...args: unknown[]) => {
          fetched.push(args[2]);
          return store(...args);
        };
      }
    });
    const tasks = managerOn(lab, { ...LOCK, concurrency: 1 }, Worker);
    const run = vi.fn((fails: boolean) => {
      if (fails) throw new Error("no");
    });
    const task = tasks.task("task", run);
    for (const fails of [false, true, true, false]) await tasks.addTask(task, [fails]);
    await tasks.work();
    await tasks.idle();
    expect([run.mock.calls.length, fetched]).toEqual([4, [true, false, true, true, true]]);
    expect(diag.join()).not.toContain("does not store ends by its job's own methods");
  });

  test("BullMQ could not store is stored all the same, and nothing runs twice", async () => {
    const diag = collectDiag();
    const lab = open();
    const asked = new Map<string, number>();
    const tasks = managerOn(lab, FAST, watching(lab, refusing(asked, { moveToCompleted: 3 })));
    const run = vi.fn();
    const id = await tasks.addTask(tasks.task("task", run));
    await tasks.work();
    await tasks.idle();
    expect([run.mock.calls.length, [...asked], await lab.queue.getFailedCount()]).toEqual([
      1,
      [["moveToCompleted", 4]],
      0,
    ]);
    expect(diag.join()).toContain(`the end of task ${id} could not be stored yet`);
  });

  test("BullMQ could not store keeps its lock until it is stored, so that no other worker gets it", async () => {
    collectDiag();
    const lab = open();
    const options = { lockDuration: 2_500, stalledInterval: 500 };
    const [tasks, other] = [
      managerOn(lab, options, watching(lab, refusing(new Map(), { moveToCompleted: 6 }))),
      managerOn(lab, options, lab.bullmq.Worker),
    ];
    const started = deferred();
    const run = vi.fn(() => started.resolve());
    const id = await tasks.addTask(tasks.task("task", run));
    other.task("task", run);
    await tasks.work();
    await started.promise;
    await other.work();
    await tasks.idle();
    expect([run.mock.calls.length, await lab.queue.getJob(id)]).toEqual([1, undefined]);
  });

  test("BullMQ could not store is due when it would have been, counts once, and is followed by its retry", async () => {
    collectDiag();
    const lab = open();
    let asked = 0;
    const Worker = watching(lab, (job) => {
      refusing(new Map(), { updateData: 2 })(job);
      const fail = job.moveToFailed.bind(job);
      // BullMQ changes the job before its server refuses
      job.moveToFailed = (error, token, fetchNext) => {
        asked += 1;
        return fail(error, asked <= 2 ? "another" : token, fetchNext);
      };
    });
    const tasks = managerOn(lab, LOCK, Worker);
    const fail = (): Promise<never> => Promise.reject(new Error("no"));
    const id = await tasks.addTask(tasks.task({ name: "flaky", retries: 1, delay: 60_000 }, fail));
    await tasks.work();
    const job = await lab.reaches("delayed", id);
    expect([job.attemptsMade, job.stacktrace?.length]).toEqual([1, 1]);
    // the manager tries again after 0.1, 0.2, 0.4 and 0.8 s
    expect(job.delay).toBeLessThanOrEqual(60_000 - 1_500);
    expect(job.data).toMatchObject({ next: { attempt: 1 } });
  });

  test("BullMQ could not give back is given back all the same", async () => {
    collectDiag();
    const lab = open();
    const asked = new Map<string, number>();
    const tasks = managerOn(lab, LOCK, watching(lab, refusing(asked, { moveToDelayed: 2 })));
    const started = deferred();
    const hangs = (): Promise<never> => {
      started.resolve();
      return new Promise(() => {});
    };
    const id = await tasks.addTask(tasks.task("hangs", hangs));
    await tasks.work();
    await started.promise;
    await tasks.shutdown({ timeout: 0 });
    const job = await lab.queue.getJob(id);
    expect([await job?.getState(), job?.attemptsMade, asked.get("moveToDelayed")]).toEqual(["delayed", 0, 3]);
  });

  test.each([-4, -9])("BullMQ refuses as a success, for its children, is a failure there (%i)", async (code) => {
    const diag = collectDiag();
    const lab = open();
    const refusal = Object.assign(new Error("the job has children"), { code });
    const Worker = watching(lab, refusing(new Map(), { moveToCompleted: 1 }, refusal));
    const tasks = managerOn(lab, LOCK, Worker);
    const id = await tasks.addTask(tasks.task({ name: "parent", retries: 2 }, () => {}));
    await tasks.work();
    await tasks.idle();
    expect(await lab.reaches("failed", id)).toMatchObject({ failedReason: "the job has children", attemptsMade: 1 });
    expect(diag.join()).toContain(`BullMQ takes task ${id}, which has succeeded, for a failed one`);
  });

  test("BullMQ stores without the job's own methods is told once, and counts as stored", async () => {
    const diag = collectDiag();
    const lab = open();
    class Direct extends (lab.bullmq.Worker as unknown as BullmqWorkerClass) {
      constructor(name: string, processor: BullmqProcessor, options: never) {
        const direct: BullmqProcessor = async (job, token) => {
          const processed = processor(job, token);
          Object.assign(job, { moveToCompleted: proto(job).moveToCompleted, moveToFailed: proto(job).moveToFailed });
          await processed;
        };
        super(name, direct, options);
      }
    }
    const tasks = managerOn(lab, LOCK, Direct);
    const ids = [
      await tasks.addTask(tasks.task("succeeds", () => {})),
      await tasks.addTask(tasks.task("fails", () => Promise.reject(new Error("no")))),
    ];
    await tasks.work();
    await tasks.idle();
    expect(await tasks.shutdown()).toEqual({ completed: 0, abandoned: [] });
    expect(await Promise.all(ids.map((id) => lab.queue.getJobState(id)))).toEqual(["unknown", "failed"]);
    expect(diag.filter((line) => line.includes("does not store ends by its job's own methods"))).toHaveLength(2);
    expect(diag.join()).not.toContain(WILL_RUN);
  });
});

/** Leaves a job of the same id that was made at another time. */
async function renew(redis: Redis, job: string, lock: string): Promise<void> {
  await redis.del(lock);
  await redis.hincrby(job, "timestamp", 1);
}

/** Leaves another job of the same id and time. */
async function replace({ redis, job, lock }: Keys): Promise<void> {
  await redis.del(lock);
  await redis.hset(job, "data", JSON.stringify({ args: [], stamp: "another's" }));
}

function proto(job: object): Pick<BullmqWorkerJob, "moveToCompleted" | "moveToFailed"> {
  return Object.getPrototypeOf(job);
}

/** Has the first calls of these methods of a job refused; counts all calls. */
function refusing(
  asked: Map<string, number>,
  refusals: Record<string, number>,
  error: Error = Object.assign(new Error("OOM"), { code: "OOM" }),
) {
  return (job: object): void => {
    const methods = job as Record<string, (...args: unknown[]) => Promise<unknown>>;
    for (const [name, most] of Object.entries(refusals)) {
      const method = methods[name]?.bind(job);
      methods[name] = async (...args) => {
        const count = (asked.get(name) ?? 0) + 1;
        asked.set(name, count);
        if (count <= most) throw error;
        return await method?.(...args);
      };
    }
  };
}

function keysOf({ connection, queue }: Lab, id: string): Keys {
  const redis = new Redis(connection);
  onTestFinished(() => redis.disconnect());
  const job = queue.toKey(id);
  return { redis, job, lock: `${job}:lock`, active: queue.toKey("active") };
}
