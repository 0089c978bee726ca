import { trace } from "@opentelemetry/api";
import type { WorkerOptions } from "bullmq";
import { getTaskContext, isTaskConfigError, TaskManager, taskLogFields } from "otel-taskflow";
import {
  addJob,
  type BullmqQueueClass,
  type BullmqWorkerClass,
  bullmqEngine,
  withTask,
  withTasks,
} from "otel-taskflow/bullmq";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { describeVersions, type Job } from "../engines/bullmq/lab.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

const task = (): string | undefined => getTaskContext()?.funcName;

await describeVersions("withTasks", (open, bullmq) => {
  const { prototype } = bullmq.Queue;
  const before = [prototype.add.name, prototype.add.length, prototype.addBulk.name, prototype.addBulk.length];
  const wrapped = withTasks(bullmq);

  test("returns the very module, whose methods look as before", () => {
    expect(wrapped).toBe(bullmq);
    expect([prototype.add.name, prototype.add.length, prototype.addBulk.name, prototype.addBulk.length]).toEqual(
      before,
    );
  });

  test("wraps nothing twice", () => {
    const { add, addBulk } = prototype;
    withTasks(bullmq);
    expect([prototype.add, prototype.addBulk]).toEqual([add, addBulk]);
  });

  test("gives each job one enqueue span, one attempt, and one key more among its options", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    const given = Object.freeze({ attempts: 2 });
    lab.work(async (job) => void seen.push(job.data, getTaskContext()?.taskId === job.id));
    const traceId = await trace.getTracer("service").startActiveSpan("POST /", async (span) => {
      const { id } = await lab.queue.add("mail", { to: "ada" }, given);
      await lab.reaches("completed", id);
      span.end();
      return span.spanContext().traceId;
    });
    expect(seen).toEqual([{ to: "ada" }, true]);
    const [enqueued, processed] = [telemetry.span("enqueue mail"), telemetry.span("process mail")];
    expect([enqueued.spanContext().traceId, processed.spanContext().traceId]).toEqual([traceId, traceId]);
    const [stored] = await lab.queue.getCompleted();
    const bare = ["attempts", "backoff"];
    expect(Object.keys(stored?.opts ?? {}).filter((key) => !bare.includes(key))).toEqual(["otel-taskflow"]);
  });

  test("gives each job of a bulk a span and a carrier of its own, and changes nothing of the caller's", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const opts = Object.freeze({ attempts: 2 });
    const jobs = Array.from({ length: 20 }, (_, n) =>
      Object.freeze({ name: "item", data: Object.freeze({ n }), opts }),
    );
    const added = await lab.queue.addBulk(jobs);
    expect(added.map(({ data }) => data.n)).toEqual(jobs.map(({ data }) => data.n));
    expect(telemetry.named("enqueue item")).toHaveLength(20);
    const carriers = added.map(({ opts: own }) => JSON.stringify(Reflect.get(own, "otel-taskflow")));
    expect(new Set(carriers).size).toBe(20);
  });

  test("gives a job one span where it passes subclasses, or is added by hand", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    let runs = 0;
    class OwnQueue extends bullmq.Queue {
      override add(...args: Parameters<InstanceType<typeof bullmq.Queue>["add"]>): Promise<Job> {
        return super.add(...args);
      }
    }
    class OwnWorker extends bullmq.Worker {
      override async processJob(...args: never[]): Promise<never> {
        runs += 1;
        // as the class above has it
        return (await Reflect.apply(bullmq.Worker.prototype.processJob, this, args)) as never;
      }
    }
    const queue = new OwnQueue(lab.queue.name, { connection: lab.connection });
    onTestFinished(() => queue.close());
    const options: WorkerOptions = { connection: lab.connection };
    const worker = new OwnWorker(lab.queue.name, async (job: Job) => [job.name, task()], options);
    onTestFinished(() => worker.close(true));
    const { id } = await addJob(queue, "own", {});
    expect((await lab.reaches("completed", id)).returnvalue).toEqual(["own", "own"]);
    expect([runs, telemetry.named("enqueue own").length, telemetry.named("process own").length]).toEqual([1, 1, 1]);
  });

  test("leaves what is wrapped by hand as well one enqueue span and one attempt", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(withTask(async () => getTaskContext()?.tags));
    const { id } = await addJob(lab.queue, "twice", {}, { tags: { plan: "pro" } });
    expect((await lab.reaches("completed", id)).returnvalue).toEqual({ plan: "pro" });
    expect(
      telemetry
        .spans()
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(["enqueue twice", "process twice"]);
  });

  test("gives each job of a flow an enqueue span, and all of them one trace", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(async (job) => [job.name, task()], { concurrency: 2 });
    const queueName = lab.queue.name;
    const children = ["left", "right"].map((name) => ({ name, queueName, data: {} }));
    const flow = { name: "both", queueName, data: {}, children };
    const added = await lab.flow().add(flow);
    expect((await lab.reaches("completed", added.job.id)).returnvalue).toEqual(["both", "both"]);
    const [more] = await lab.flow().addBulk([{ name: "alone", queueName, data: {} }]);
    await lab.reaches("completed", more?.job.id);
    const spans = telemetry.spans().filter(({ name }) => !name.endsWith("alone"));
    const jobs = ["both", "left", "right"];
    expect(spans.map(({ name }) => name).sort()).toEqual([
      ...jobs.map((job) => `enqueue ${job}`),
      ...jobs.map((job) => `process ${job}`),
    ]);
    expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
    expect([telemetry.named("enqueue alone").length, telemetry.named("process alone").length]).toEqual([1, 1]);
  });

  test("passes a processor what it got before", async () => {
    const lab = open();
    const seen: unknown[] = [];
    const worker = lab.work(async function (this: unknown, job, token, signal) {
      seen.push(this === worker, job instanceof bullmq.Job, typeof token, signal instanceof AbortSignal, task());
    });
    const { id } = await lab.queue.add("mail", {});
    await lab.reaches("completed", id);
    expect(seen).toEqual([true, true, "string", true, "mail"]);
  });

  test("calls the listeners of a worker in their own job's task", async () => {
    const lab = open({ defaultJobOptions: { attempts: 2 } });
    const heard: unknown[] = [];
    const hear = (event: string) => (job: Job | undefined) => {
      heard.push([event, getTaskContext()?.taskId === job?.id, getTaskContext()?.attempt]);
    };
    const worker = lab.work(async (job) => {
      if (job.attemptsMade === 0) throw new Error("no");
    });
    worker.on("active", hear("active"));
    worker.on("failed", hear("failed"));
    worker.on("completed", hear("completed"));
    const { id } = await lab.queue.add("mail", {});
    await lab.reaches("completed", id);
    await vi.waitFor(() => expect(heard).toHaveLength(4));
    expect(heard).toEqual([
      ["active", true, 0],
      ["failed", true, 0],
      ["active", true, 1],
      ["completed", true, 1],
    ]);
  });

  test("calls the listeners of a job that BullMQ fails without a run in its task, in the attempt that was due", async () => {
    const telemetry = startTelemetry();
    const [parents, children] = [open(), open()];
    const heard: unknown[] = [];
    const hear = (event: string) => (job: Job | undefined) => {
      const { taskId, attempt, maxAttempts } = getTaskContext() ?? {};
      const isInTrace = taskLogFields().trace_id === telemetry.span("enqueue parent").spanContext().traceId;
      heard.push([event, taskId === job?.id, attempt, maxAttempts, isInTrace]);
    };
    const worker = parents.work(async () => {});
    worker.on("active", hear("active"));
    worker.on("failed", hear("failed"));
    children.work(async () => Promise.reject(new Error("no")));
    const { job } = await parents.flow().add({
      ...{ name: "parent", queueName: parents.queue.name },
      children: [{ name: "child", queueName: children.queue.name, opts: { failParentOnFailure: true } }],
    });
    await parents.reaches("failed", job.id);
    await vi.waitFor(() => expect(heard).toHaveLength(2));
    expect(heard).toEqual([
      ["active", true, 0, 1, true],
      ["failed", true, 0, 1, true],
    ]);
    expect(telemetry.named("process parent")).toEqual([]);
  });

  test("leaves a job alone that is fetched by hand", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const worker = new bullmq.Worker(lab.queue.name, undefined, { connection: lab.connection });
    onTestFinished(() => worker.close(true));
    const { id } = await lab.queue.add("pulled", {});
    const job = (await worker.getNextJob("token")) as Job;
    await job.moveToCompleted("done", "token", false);
    expect((await lab.reaches("completed", id)).returnvalue).toBe("done");
    expect(telemetry.named("process pulled")).toEqual([]);
  });

  test("declares a schedule without an enqueue span, and runs it as a task", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    await lab.queue.upsertJobScheduler("often", { every: 200 }, { name: "tick", data: {} });
    lab.work(async () => void seen.push(task()));
    await vi.waitFor(() => expect(seen.length).toBeGreaterThan(1), { timeout: 5_000 });
    expect(seen.slice(0, 2)).toEqual(["tick", "tick"]);
    expect(telemetry.named("enqueue tick")).toEqual([]);
  });

  test("counts the tasks of this library's own engine once", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    // this version's own classes
    const { Queue, Worker } = bullmq as unknown as { Queue: BullmqQueueClass; Worker: BullmqWorkerClass };
    const tasks = new TaskManager({
      engine: bullmqEngine({ Queue, Worker, connection: lab.connection, queue: lab.queue.name }),
    });
    const greet = tasks.task("greet", async () => {});
    await tasks.work();
    await tasks.addTask(greet);
    await tasks.idle();
    await tasks.shutdown();
    expect(telemetry.spans().map(({ name }) => name)).toEqual(["enqueue greet", "process greet"]);
  });
});

describe("withTasks, with a mock of BullMQ,", () => {
  test("takes one that has only some of the classes", async () => {
    class Queue {
      add = async (): Promise<undefined> => undefined;
    }
    const mock = { Queue };
    expect(withTasks(mock)).toBe(mock);
    expect(await new mock.Queue().add()).toBeUndefined();
  });

  test("takes one that throws where it is asked for what it has not", () => {
    const refuse = (_target: object, key: string | symbol): never => {
      throw new Error(`no "${String(key)}" export is defined on the mock`);
    };
    const mock = new Proxy({}, { get: refuse });
    expect(withTasks(mock)).toBe(mock);
  });

  test("refuses what is no module, and options that are none", () => {
    expect(() => withTasks(undefined as never)).toThrow(expect.toSatisfy(isTaskConfigError));
    expect(() => withTasks({}, { tag: {} } as never)).toThrow('withTasks(): unknown option "tag"');
  });

  test("leaves a version alone whose methods it does not know, and says so", () => {
    class Worker {
      close(): void {}
      perform(): void {}
    }
    class Queue {
      close(): void {}
      add(): void {}
      addBulk(): void {}
    }
    const { add } = Queue.prototype;
    const messages = collectDiag();
    withTasks({ Queue, Worker });
    expect(Queue.prototype.add).toBe(add);
    expect(messages).toEqual([expect.stringContaining("its Worker has other methods than those known here")]);
  });
});
