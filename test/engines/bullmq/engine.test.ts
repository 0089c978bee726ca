import { setTimeout as wait } from "node:timers/promises";
import { trace } from "@opentelemetry/api";
import { Redis } from "ioredis";
import {
  getTaskContext,
  isTaskConfigError,
  NonRetryableError,
  type TaskEvent,
  TaskManager,
  type TaskManagerOptions,
} from "otel-taskflow";
import {
  type BullmqEngineOptions,
  type BullmqProcessor,
  type BullmqWorkerClass,
  bullmqEngine,
} from "otel-taskflow/bullmq";
import { describe, expect, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Lab, watching } from "./lab.js";
import { FAST } from "./worlds.js";

/** A manager whose engine works on a lab's queue. */
function managerOn(lab: Lab, options: TaskManagerOptions = {}, more: Partial<BullmqEngineOptions> = {}): TaskManager {
  const { Queue, Worker } = lab.bullmq;
  const { connection, queue } = lab;
  const engine = bullmqEngine({ Queue, Worker, connection, queue: queue.name, workerOptions: FAST, ...more });
  return createTasks({ engine, ...options });
}

/** Takes a job away from the worker that has it. */
async function lose({ connection, queue }: Lab, id: string): Promise<void> {
  const redis = new Redis(connection);
  await redis.del(queue.toKey(id), `${queue.toKey(id)}:lock`);
  redis.disconnect();
}

/** Has a job wait again that was taken out of the queue. */
async function putBack({ connection, queue }: Lab, id: string): Promise<void> {
  const redis = new Redis(connection);
  await redis.rpush(queue.toKey("wait"), id);
  await redis.zadd(queue.toKey("marker"), 0, "0");
  redis.disconnect();
}

interface Client {
  runCommand: (name: string, args: []) => Promise<unknown>;
}

/** The client of a queue: version 5 has it here, version 6 there. */
async function clientOf(queue: object): Promise<Client> {
  const { client, backend } = queue as { client?: Promise<Client>; backend?: { client?: Promise<Client> } };
  const found = await (client ?? backend?.client);
  if (found === undefined) throw new Error("this queue has no client");
  return found;
}

/** A queue whose first step of a cancel never arrives; `meanwhile` happens in its place. */
function losingFirstStep(lab: Lab, meanwhile: () => Promise<void>): Lab["bullmq"]["Queue"] {
  let asked = 0;
  return class extends lab.bullmq.Queue {
    override async waitUntilReady(): Promise<never> {
      const client = await clientOf(this);
      const carryOut = client.runCommand.bind(client);
      client.runCommand = async (name, args) => {
        if (!name.startsWith("otelTask")) return await carryOut(name, args);
        asked += 1;
        if (asked > 1) return await carryOut(name, args);
        await meanwhile();
        throw new Error("it never arrived");
      };
      return (await super.waitUntilReady()) as never;
    }
  };
}

async function finish(tasks: Pick<TaskManager, "work" | "idle">): Promise<void> {
  await tasks.work();
  await tasks.idle();
}

describe("bullmqEngine", () => {
  class Unused {
    constructor() {
      throw new Error("used");
    }
  }
  const good = { Queue: Unused as never, Worker: Unused as never, connection: { host: "127.0.0.1", port: 6379 } };

  test.each([
    [{ ...good, Queue: undefined }, /^Queue: expected a function, received undefined/],
    [{ ...good, Worker: "Worker" }, /^Worker: expected a function/],
    [{ ...good, connection: undefined }, /^connection: expected what BullMQ takes, such as \{ host/],
    [{ ...good, queue: "a:b" }, /^queue: expected a name without a colon, received a string of 3 characters/],
    [{ ...good, connection: { keyPrefix: "app:" } }, /^connection: ioredis does not support ioredis prefixes, use the/],
    [{ ...good, connection: { options: { keyPrefix: "app:" } } }, /^connection: ioredis does not support ioredis pre/],
    [{ ...good, workerOptions: { maxStartedAttempts: -1 } }, /^workerOptions.maxStartedAttempts: expected an integer/],
    [{ ...good, maxLost: 0 }, /^maxLost: expected an integer from 1, received 0/],
    [{ ...good, concurrency: 0 }, /^concurrency: expected an integer from 1, received 0/],
    [{ ...good, prefix: "" }, /^prefix: expected a well-formed string of 1 to 512 characters/],
    [{ ...good, workerOptions: 5 }, /^workerOptions: expected an object/],
    [undefined, /^bullmqEngine\(\): its options: expected an object/],
  ])("refuses %j", (options, message) => {
    const make = (): unknown => bullmqEngine(options as never);
    expect(make).toThrow(expect.toSatisfy(isTaskConfigError));
    expect(make).toThrow(message);
  });

  test("connects to nothing before it is used", async () => {
    const tasks = new TaskManager({ engine: bullmqEngine(good) });
    expect(await tasks.shutdown()).toEqual({ completed: 0, abandoned: [] });
  });

  test("belongs to one manager", () => {
    const engine = bullmqEngine(good);
    createTasks({ engine });
    expect(() => createTasks({ engine })).toThrow(expect.toSatisfy(isTaskConfigError));
  });
});

await describeVersions("the engine's jobs", (open) => {
  test("of a task that gave up: attempts, reason and stack as BullMQ's own", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    const task = tasks.task({ name: "fails", retries: 2, delay: 10 }, () => Promise.reject(new TypeError("no")));
    const id = await tasks.addTask(task);
    await finish(tasks);
    const job = await lab.reaches("failed", id);
    expect([job.attemptsMade, job.opts.attempts, job.failedReason]).toEqual([3, 3, "TypeError: no"]);
    expect(job.stacktrace).toEqual(Array(3).fill(expect.stringMatching(/^TypeError: no\n +at .*engine\.test\.ts/)));
  });

  test.each([
    [new NonRetryableError("card expired"), "NonRetryableError: card expired"],
    [undefined, "thrown: undefined"],
    [null, "thrown: null"],
    ["text", "thrown: text"],
  ])("that failed with %j say so", async (thrown, reason) => {
    const lab = open();
    const tasks = managerOn(lab);
    const id = await tasks.addTask(tasks.task("fails", () => Promise.reject(thrown)));
    await finish(tasks);
    expect(await lab.reaches("failed", id)).toMatchObject({ failedReason: reason, attemptsMade: 1 });
  });

  test.each(["DelayedError", "WaitingError", "WaitingChildrenError", "UnrecoverableError", "RateLimitError"])(
    "fail and are retried by a task's %s as by any error, whatever it means to BullMQ",
    async (name) => {
      const lab = open();
      const tasks = managerOn(lab);
      const error = Object.assign(new Error("bullmq:rateLimitExceeded"), { name });
      const id = await tasks.addTask(tasks.task({ name: "fails", retries: 1 }, () => Promise.reject(error)));
      await finish(tasks);
      expect(await lab.reaches("failed", id)).toMatchObject({ attemptsMade: 2 });
    },
  );

  test.each([
    [{}, 2 ** 31 - 1],
    [{ maxStalledCount: 3 }, 3],
  ])("are given up by BullMQ itself as often as the application says, else not (%j)", async (wished, most) => {
    const lab = open();
    let options: unknown;
    class Seen extends (lab.bullmq.Worker as unknown as BullmqWorkerClass) {
      constructor(name: string, processor: BullmqProcessor, given: never) {
        options = given;
        super(name, processor, given);
      }
    }
    const tasks = managerOn(lab, {}, { Worker: Seen, workerOptions: { ...FAST, ...wished } });
    await tasks.work();
    expect(options).toMatchObject({ maxStalledCount: most });
  });

  test("of a cancelled task have failed without another attempt", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    const started = deferred();
    const stuck = tasks.task({ name: "stuck", retries: 3 }, () => {
      started.resolve();
      return new Promise(() => {});
    });
    const id = await tasks.addTask(stuck);
    await tasks.work();
    await started.promise;
    await tasks.cancel(id);
    const job = await lab.reaches("failed", id);
    expect([job.failedReason, job.attemptsMade]).toEqual(["TaskCancelledError: the task was cancelled", 1]);
  });

  test("leave nothing behind when they are done, unless they are told to", async () => {
    const lab = open();
    const keeping = { queueOptions: { defaultJobOptions: { removeOnComplete: false } } };
    const [tasks, keeper] = [managerOn(lab), managerOn(lab, {}, keeping)];
    const task = tasks.task("task", () => {});
    const ids = [await tasks.addTask(task), await keeper.addTask(keeper.task("task", task))];
    await finish(tasks);
    const jobs = await Promise.all(ids.map((id) => lab.queue.getJob(id)));
    expect(jobs.map((job) => job?.id)).toEqual([undefined, ids[1]]);
    expect((await lab.queue.getJob(ids[1] ?? ""))?.returnvalue).toBeNull();
  });

  test("are retried as often as they may, though BullMQ tells late of each failure", async () => {
    const lab = open();
    const Worker = watching(lab, (job) => {
      const move = job.moveToFailed.bind(job);
      job.moveToFailed = async (...args) => {
        const moved = await move(...args);
        await wait(50);
        return moved;
      };
    });
    const tasks = managerOn(lab, {}, { Worker });
    const run = vi.fn(async () => {
      await wait(100);
      throw new Error("not yet");
    });
    await tasks.addTask(tasks.task({ name: "fails", retries: 3 }, run));
    await finish(tasks);
    expect(run).toHaveBeenCalledTimes(4);
  });

  test("of a cancelled retry are dropped once, though BullMQ asks again when it lost the answer", async () => {
    const lab = open();
    class Asking extends (lab.bullmq.Worker as unknown as BullmqWorkerClass) {
      constructor(name: string, processor: BullmqProcessor, options: never) {
        const { settings } = options as { settings: { backoffStrategy: (...args: unknown[]) => number } };
        const { backoffStrategy } = settings;
        settings.backoffStrategy = (...args) => Math.max(...[1, 2].map(() => backoffStrategy(...args)));
        super(name, processor, options);
      }
    }
    const onCancel = vi.fn();
    const onRetry = async ({ context }: TaskEvent): Promise<void> => void (await tasks.cancel(context.taskId));
    const tasks = managerOn(lab, { onRetry, onCancel }, { Worker: Asking });
    const id = await tasks.addTask(tasks.task({ name: "fails", retries: 3 }, () => Promise.reject(new Error("no"))));
    await finish(tasks);
    await lab.reaches("failed", id);
    await tasks.shutdown();
    expect(onCancel).toHaveBeenCalledOnce();
  });

  test("do not run when they arrive here while they are being removed", async () => {
    const lab = open();
    const arrived = deferred();
    // as on PostgreSQL, where a job can be removed that a worker has just been given
    class Removing extends lab.bullmq.Queue {
      override async remove(id: string): Promise<number> {
        await putBack(lab, id);
        await arrived.promise;
        await wait(50);
        await lose(lab, id);
        return 1;
      }
    }
    const tasks = managerOn(lab, {}, { Queue: Removing, Worker: watching(lab, () => arrived.resolve()) });
    const run = vi.fn();
    const id = await tasks.addTask(tasks.task("task", run));
    const cancelled = tasks.cancel(id);
    await tasks.work();
    expect(await cancelled).toBe(true);
    await tasks.shutdown();
    expect(run).not.toHaveBeenCalled();
  });

  test("are cancelled once, though the answer of each step is lost", async () => {
    const lab = open();
    let asked = 0;
    const watched = new Set<Client>();
    const losing = async <T>(carriedOut: Promise<T>): Promise<T> => {
      const answer = await carriedOut;
      asked += 1;
      if (asked === 1 || asked === 3) throw new Error("the answer is lost");
      return answer;
    };
    class Losing extends lab.bullmq.Queue {
      override async waitUntilReady(): Promise<never> {
        const ready = await super.waitUntilReady();
        const client = await clientOf(this);
        if (watched.has(client)) return ready as never;
        watched.add(client);
        const run = client.runCommand.bind(client);
        client.runCommand = (name, args) => (name.startsWith("otelTask") ? losing(run(name, args)) : run(name, args));
        return ready as never;
      }
      override async remove(id: string, options?: { removeChildren?: boolean }): Promise<number> {
        return await losing(super.remove(id, options));
      }
    }
    const onCancel = vi.fn();
    const tasks = managerOn(lab, { onCancel }, { Queue: Losing });
    const task = tasks.task("task", () => {});
    const id = await tasks.addTask(task, [], { delay: 60_000 });
    expect([await tasks.cancel(id), await tasks.cancel(id), await lab.queue.getJob(id)]).toEqual([
      true,
      false,
      undefined,
    ]);
    await tasks.idle();
    expect([asked, onCancel.mock.calls.length]).toEqual([3, 1]);
  });

  test("are not cancelled when they have ended while the answer of the first step was waited for", async () => {
    const lab = open();
    const worker = managerOn(lab);
    const run = vi.fn();
    worker.task("task", run);
    const Losing = losingFirstStep(lab, () => finish(worker));
    const onCancel = vi.fn();
    const tasks = managerOn(lab, { onCancel }, { Queue: Losing });
    const id = await tasks.addTask(tasks.task("task", () => {}));
    expect([await tasks.cancel(id), run.mock.calls.length]).toEqual([false, 1]);
    await tasks.shutdown();
    expect(onCancel).not.toHaveBeenCalled();
  });

  test("are cancelled as what they are, though another of their id was to be removed before", async () => {
    const lab = open();
    const worker = managerOn(lab);
    const task = worker.task("task", () => {});
    const Losing = losingFirstStep(lab, async () => {
      await finish(worker);
      await worker.addTask(task, [], { taskId: "order-7", delay: 60_000, tags: { which: "second" } });
    });
    const cancelled: unknown[] = [];
    const onCancel = ({ context }: TaskEvent): void => void cancelled.push(context.tags.which);
    const tasks = managerOn(lab, { onCancel }, { Queue: Losing });
    await tasks.addTask(tasks.task("task", task), [], { taskId: "order-7", tags: { which: "first" } });
    expect(await tasks.cancel("order-7")).toBe(true);
    await tasks.idle();
    expect(cancelled).toEqual(["second"]);
  });

  test("that a worker here has got, and not told of yet, are waited for by a cancel", async () => {
    const lab = open();
    const [got, looked] = [deferred(), deferred()];
    class Untold extends (lab.bullmq.Worker as unknown as BullmqWorkerClass) {
      constructor(name: string, processor: BullmqProcessor, options: never) {
        const late: BullmqProcessor = async (job, token) => {
          got.resolve();
          await looked.promise;
          await processor(job, token);
        };
        super(name, late, options);
      }
      emit(event: string, ...args: unknown[]): boolean {
        return event === "active" || Reflect.apply(lab.bullmq.Worker.prototype.emit, this, [event, ...args]);
      }
    }
    class Looking extends lab.bullmq.Queue {
      override async getJob(id: string): Promise<never> {
        const job = await super.getJob(id);
        const getState = job?.getState.bind(job);
        const look = async (): Promise<unknown> => {
          const state = await getState?.();
          // a moment later than whoever looks has gone on
          setTimeout(looked.resolve, 5);
          return state;
        };
        return Object.assign(job ?? {}, { getState: look }) as never;
      }
    }
    const tasks = managerOn(lab, {}, { Worker: Untold, Queue: Looking });
    const id = await tasks.addTask(tasks.task("stuck", () => new Promise(() => {})));
    await tasks.work();
    await got.promise;
    expect(await tasks.cancel(id)).toBe(true);
  });

  test("of a flow are cancelled with their children, as BullMQ removes them", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    for (const name of ["parent", "child"]) tasks.task(name, () => {});
    const queueName = lab.queue.name;
    const child = { name: "child", queueName, data: {}, opts: { removeOnComplete: false } };
    const parent = { name: "parent", queueName, data: {}, opts: { delay: 60_000 } };
    const flow = await lab.flow().add({ ...parent, children: [child] });
    await tasks.work();
    const { id = "" } = await lab.reaches("delayed", flow.job.id);
    expect([await lab.queue.getCompletedCount(), await tasks.cancel(id)]).toEqual([1, true]);
    expect(await lab.queue.getCompletedCount()).toBe(0);
  });

  test("that BullMQ failed without running them leave their id to others, which can be cancelled", async () => {
    collectDiag();
    const lab = open();
    const tasks = managerOn(lab);
    const task = tasks.task("task", () => {});
    await tasks.addTask(task, [], { taskId: "order-7" });
    const redis = new Redis(lab.connection);
    await redis.hset(lab.queue.toKey("order-7"), "defa", "a child has failed");
    redis.disconnect();
    await tasks.work();
    expect(await lab.reaches("failed", "order-7")).toMatchObject({ failedReason: "a child has failed" });
    await tasks.addTask(task, [], { taskId: "order-7", delay: 60_000 });
    expect(await tasks.cancel("order-7")).toBe(true);
  });

  test("that are given back leave room for the next one", async () => {
    collectDiag();
    const lab = open();
    const tasks = managerOn(lab, { onNotice: false }, { concurrency: 1 });
    const run = deferred();
    const [other, task] = [managerOn(lab), tasks.task("task", () => run.resolve())];
    await other.addTask(other.task("not known here", () => {}));
    await tasks.addTask(task);
    await tasks.work();
    await run.promise;
  });

  test("are cancelled though BullMQ says that there was nothing left to remove", async () => {
    const lab = open();
    class Removing extends lab.bullmq.Queue {
      override async remove(id: string, options?: { removeChildren?: boolean }): Promise<number> {
        await super.remove(id, options);
        return 0;
      }
    }
    const tasks = managerOn(lab, {}, { Queue: Removing });
    expect(await tasks.cancel(await tasks.addTask(tasks.task("task", () => {})))).toBe(true);
    await tasks.idle();
  });

  test.each([
    ["another's", true, []],
    ["the task's own", false, [1]],
  ])("under an id of one's own are %s, as is found out when the answer is lost", async (_whose, isOther, enqueued) => {
    const metrics = startMetrics();
    const lab = open();
    class Losing extends lab.bullmq.Queue {
      override async add(name: string, data: object, options?: { jobId?: string }): Promise<never> {
        await super.add(name, isOther ? { args: ["other"] } : data, options);
        throw Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
      }
    }
    const tasks = managerOn(lab, { onNotice: false }, { Queue: Losing });
    await tasks.addTask(
      tasks.task("task", () => {}),
      ["mine"] as never,
      { taskId: "order-7" },
    );
    const counted = (await metrics.collect()).get("task.enqueued")?.dataPoints.map(({ value }) => value) ?? [];
    expect(counted).toEqual(enqueued);
  });

  test("are stopped by a cancel that comes when BullMQ has fetched them, and not run them yet", async () => {
    const lab = open();
    const fetched = deferred();
    class Slow extends (lab.bullmq.Worker as unknown as BullmqWorkerClass) {
      constructor(name: string, processor: BullmqProcessor, options: never) {
        const late: BullmqProcessor = async (job, token) => {
          fetched.resolve();
          await wait(200);
          await processor(job, token);
        };
        super(name, late, options);
      }
    }
    const tasks = managerOn(lab, {}, { Worker: Slow });
    const id = await tasks.addTask(tasks.task("stuck", () => new Promise(() => {})));
    await tasks.work();
    await fetched.promise;
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.idle();
  });

  test("that were lost while they ran are not waited for by a cancel", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    const [started, gate] = [deferred(), deferred()];
    const stuck = tasks.task("stuck", () => {
      started.resolve();
      return gate.promise;
    });
    const diag = collectDiag();
    const id = await tasks.addTask(stuck);
    await tasks.work();
    await started.promise;
    await lose(lab, id);
    gate.resolve();
    await vi.waitFor(() => expect(diag.join()).toContain("could not be stored yet"));
    expect(await Promise.race([tasks.cancel(id), wait(1_500, "waits")])).toBe(false);
  });

  test("are no part of the trace in which the library was loaded", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    vi.resetModules();
    const loaded = await trace.getTracer("test").startActiveSpan("load", async (span) => {
      const [{ TaskManager: Manager }, { bullmqEngine: engineOf }] = await Promise.all([
        import("otel-taskflow"),
        import("otel-taskflow/bullmq"),
      ]);
      span.end();
      return { Manager, engineOf };
    });
    const { Queue, Worker } = lab.bullmq;
    const engine = loaded.engineOf({ Queue, Worker, connection: lab.connection, queue: lab.queue.name });
    const tasks = new loaded.Manager({ engine });
    tasks.task("task", () => {});
    await lab.queue.add("task", { args: [] });
    await finish(tasks);
    await tasks.shutdown();
    const { parentSpanContext, links } = telemetry.span("process task");
    expect([parentSpanContext, links]).toEqual([undefined, []]);
  });

  test("can be retried by hand in BullMQ: as the attempt after the last", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const tasks = managerOn(lab);
    const task = tasks.task("flaky", () => {
      if (getTaskContext()?.attempt === 0) throw new Error("not yet");
    });
    const id = await tasks.addTask(task);
    await finish(tasks);
    await (await lab.reaches("failed", id)).retry();
    await tasks.idle();
    const outcomes = telemetry.named("process flaky").map(({ attributes }) => attributes["task.outcome"]);
    expect(outcomes).toEqual(["failure", "success"]);
  });

  test("have ids that BullMQ takes, whatever the tasks' own", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    const task = tasks.task("task", () => {});
    for (const taskId of ["order-7", "order:7", "7", "id=7", "100%:0", "active"])
      await tasks.addTask(task, [], { taskId });
    const ids = (await lab.queue.getWaiting()).map(({ id }) => id);
    expect(ids.toSorted()).toEqual(
      ["order-7", "id=order%3A7", "id=7", "id=id=7", "id=100%25%3A0", "id=active"].toSorted(),
    );
    expect(await tasks.cancel("100%:0")).toBe(true);
  });

  test("are counted outside of any trace", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    class Traced extends lab.bullmq.Queue {
      override async getJobCounts(): Promise<never> {
        trace.getTracer("redis").startSpan("count").end();
        return (await super.getJobCounts()) as never;
      }
    }
    const tasks = managerOn(lab, {}, { Queue: Traced });
    await tasks.addTask(tasks.task("task", () => {}));
    await finish(tasks);
    expect([telemetry.named("count"), telemetry.named("process task").length]).toEqual([[], 1]);
  });

  test("leave the keys of BullMQ's own alone, whatever the tasks' ids", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    await lab.queue.setGlobalConcurrency(7); // is kept in a key of its own, as a job is
    for (const taskId of ["meta", "marker", "events"]) {
      await tasks.addTask(
        tasks.task(taskId, () => {}),
        [],
        { taskId },
      );
      expect(await tasks.cancel(taskId)).toBe(true);
    }
    expect(await lab.queue.getGlobalConcurrency()).toBe(7);
  });

  test("of one id that two processes add at the same time are one, and counted once", async () => {
    const metrics = startMetrics();
    const lab = open();
    const managers = Array.from({ length: 4 }, () => managerOn(lab));
    const run = vi.fn();
    await Promise.all(managers.map((tasks) => tasks.addTask(tasks.task("task", run), [], { taskId: "order-7" })));
    const enqueued = (await metrics.collect()).get("task.enqueued")?.dataPoints.map(({ value }) => value);
    const [first] = managers;
    if (first !== undefined) await finish(first);
    expect([run.mock.calls.length, enqueued]).toEqual([1, [1]]);
  });

  test("are not removed by the cancel of one that has ended under their id meanwhile", async () => {
    const lab = open();
    const [removing, gate] = [deferred(), deferred()];
    class SlowQueue extends lab.bullmq.Queue {
      override async remove(id: string): Promise<number> {
        removing.resolve();
        await gate.promise;
        return await super.remove(id);
      }
    }
    const [tasks, worker] = [managerOn(lab, {}, { Queue: SlowQueue }), managerOn(lab)];
    const task = tasks.task("task", () => {});
    worker.task("task", () => {});
    await tasks.addTask(task, [], { taskId: "order-7" });
    const cancelling = tasks.cancel("order-7");
    await removing.promise;
    await finish(worker);
    const adding = tasks.addTask(task, [], { taskId: "order-7", delay: 60_000 });
    await Promise.race([adding, wait(200)]);
    gate.resolve();
    await Promise.all([cancelling, adding]);
    expect(await lab.queue.getJobCountByTypes("delayed")).toBe(1);
  });

  test("do not keep their id when whoever cancelled one died before it was removed", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    const run = vi.fn();
    const task = tasks.task("task", run);
    await tasks.addTask(task, ["lost"], { taskId: "order-7" });
    const redis = new Redis(lab.connection);
    await redis.lrem(lab.queue.toKey("wait"), 1, "order-7");
    redis.disconnect();
    await tasks.addTask(task, ["next"], { taskId: "order-7" });
    await finish(tasks);
    expect(run.mock.calls).toEqual([["next"]]);
  });

  test("are called off whenever their retry is cancelled, be it just being stored", async () => {
    const lab = open();
    const failed: string[] = [];
    const cancelled: string[] = [];
    const tasks = managerOn(lab, {
      onRetry: ({ context }) => void failed.push(context.taskId),
      onCancel: ({ context }) => void cancelled.push(`${context.taskId} ${context.attempt}`),
    });
    const run = vi.fn(() => Promise.reject(new Error("no")));
    const task = tasks.task({ name: "flaky", retries: 1, delay: 60_000 }, run);
    await tasks.work();
    const answers: boolean[] = [];
    for (let n = 0; n < 20; n += 1) {
      const id = await tasks.addTask(task);
      await vi.waitUntil(() => failed.includes(id), { interval: 1 });
      for (let turns = 0; turns < n; turns += 1) await new Promise((resolve) => setImmediate(resolve));
      answers.push(await tasks.cancel(id));
    }
    await tasks.idle();
    expect([answers, run.mock.calls.length]).toEqual([Array(20).fill(true), 20]);
    expect(cancelled.toSorted()).toEqual(failed.map((id) => `${id} 1`).toSorted());
  });

  test("wait for as long as BullMQ keeps a paused queue", async () => {
    const lab = open();
    const tasks = managerOn(lab);
    const run = vi.fn();
    await lab.queue.pause();
    await tasks.addTask(tasks.task("task", run));
    await tasks.work();
    await wait(100);
    expect(run).not.toHaveBeenCalled();
    await lab.queue.resume();
    await tasks.idle();
    expect(run).toHaveBeenCalledOnce();
  });
});
