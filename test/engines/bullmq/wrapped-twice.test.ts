import { getTaskContext, runAttempt, TaskManager } from "otel-taskflow";
import { bullmqEngine, withTask } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test, vi } from "vitest";
import { startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import type { Job, Lab } from "./lab.js";
import { describeRoads } from "./roads.js";

type Handler = (job: Job, token?: string) => Promise<unknown>;

const attempts = ({ spans }: TestTelemetry): string[] =>
  spans()
    .map(({ name }) => name)
    .filter((name) => name.startsWith("process "));

/** The application's own worker class, which wraps each processor. */
function wrappingWorker({ bullmq }: Lab): typeof bullmq.Worker {
  return class extends bullmq.Worker {
    constructor(name: string, processor: Handler, options: never) {
      super(name, withTask(processor), options);
    }
  } as unknown as typeof bullmq.Worker;
}

await describeRoads("a processor that is wrapped twice", (open, _bullmq, { addJob, withTask: wrap }) => {
  test("makes one attempt of a job, whatever a registry puts between the wrappers", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const seen: unknown[] = [];
    const handler = async (job: Job): Promise<void> => void seen.push(getTaskContext()?.taskId === job.id);
    const inner = withTask(handler, { name: "inner" });
    const registry: Record<string, Handler> = { mail: (job) => inner(job) };
    lab.work(wrap(async (job: Job, token?: string) => registry[job.name]?.(job, token)));
    const { id } = await addJob(lab.queue, "mail", {});
    await lab.reaches("completed", id);
    expect([seen, attempts(telemetry)]).toEqual([[true], ["process mail"]]);
  });

  test("makes one where what is between loses the context, and the handler is in its task all the same", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const waiting: { job: Job; done: (result: unknown) => void }[] = [];
    const inner = withTask(async (job: Job) => getTaskContext()?.taskId === job.id);
    const pump = setInterval(() => {
      for (const { job, done } of waiting.splice(0)) done(inner(job));
    }, 5);
    onTestFinished(() => clearInterval(pump));
    lab.work(wrap((job: Job) => new Promise((done) => void waiting.push({ job, done }))));
    const { id } = await addJob(lab.queue, "mail", {});
    expect([(await lab.reaches("completed", id)).returnvalue, attempts(telemetry)]).toEqual([true, ["process mail"]]);
  });

  test("makes one where the inner one is called with the job as it was read again", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const inner = withTask(async (job: Job) => getTaskContext()?.taskId === job.id);
    lab.work(wrap(async (job: Job) => inner((await lab.queue.getJob(job.id ?? "")) as Job)));
    const { id } = await addJob(lab.queue, "mail", {});
    expect([(await lab.reaches("completed", id)).returnvalue, attempts(telemetry)]).toEqual([true, ["process mail"]]);
  });

  test("makes one for each attempt of a job that fails in the inner one, by the rules of the outer one", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const inner = withTask(async (_job: Job) => Promise.reject(new Error("no")));
    lab.work(wrap((job: Job) => inner(job)));
    const { id } = await addJob(lab.queue, "mail", {}, { attempts: 2 });
    await lab.reaches("failed", id);
    const outcomes = telemetry.named("process mail").map(({ attributes }) => attributes["task.outcome"]);
    expect(outcomes).toEqual(["retry", "failure"]);
  });

  test("leaves a task within a task an attempt of its own, and so another job", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const other = { id: "other", name: "other", data: {}, opts: {}, timestamp: 1, attemptsMade: 0 };
    lab.work(
      wrap(async () => {
        await runAttempt({ funcName: "inner" }, () => {});
        await withTask(async (_job: typeof other) => {})(other);
      }),
    );
    const { id } = await addJob(lab.queue, "mail", {});
    await lab.reaches("completed", id);
    expect(attempts(telemetry)).toEqual(["process inner", "process other", "process mail"]);
  });

  test("leaves an engine's tasks to the engine, where its worker's class wraps processors", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const { Queue } = lab.bullmq;
    const options = { Queue, Worker: wrappingWorker(lab), connection: lab.connection, queue: lab.queue.name };
    const tasks = new TaskManager({ engine: bullmqEngine(options as never) });
    onTestFinished(async () => void (await tasks.shutdown({ timeout: 0 })));
    const seen = vi.fn(() => getTaskContext()?.funcName);
    const mail = tasks.task({ name: "mail" }, seen);
    await tasks.work();
    await tasks.addTask(mail);
    await vi.waitFor(() => expect(seen).toHaveReturnedWith("mail"), 5_000);
    await tasks.idle();
    expect(attempts(telemetry)).toEqual(["process mail"]);
  });
});
