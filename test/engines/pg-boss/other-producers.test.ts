import { enqueueTask, getTaskContext } from "otel-taskflow";
import { sendJob, withCarrier, workTask } from "otel-taskflow/pg-boss";
import { afterAll, beforeAll, describe, expect, type TestContext, test, vi } from "vitest";
import { otherLinks, stopTelemetry, useContextManager, usePropagator } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { openTasks } from "./managers.js";

const PATIENT = { timeout: 15_000, interval: 50 };
const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("a pg-boss engine runs what others stored in its queue:", { concurrent: true }, describeProducers);

/** A manager with a task that is called as its queue is, a pg-boss beside it, and what the task saw. */
async function open(context: TestContext, others: readonly string[] = []) {
  const { manager, queue, visitor, provider, ...traced } = openTasks(backend, context);
  const boss = await visitor();
  const { tasks } = manager();
  const seen: unknown[] = [];
  const saw = (...args: unknown[]): void => {
    const { taskId, funcName, attempt = 0, maxAttempts, tags, redelivered } = getTaskContext() ?? {};
    seen.push({ taskId, task: funcName === queue ? "own" : funcName, attempt, maxAttempts, tags: { ...tags }, args });
    if (redelivered) throw new Error("no run was lost");
    if (attempt < 1) throw new Error("not yet");
  };
  for (const name of [queue, ...others]) tasks.task({ name, retries: 2, delay: 10 }, (...args) => saw(...args));
  const run = async (): Promise<unknown[]> => {
    await tasks.work();
    await tasks.idle();
    return seen;
  };
  return { ...traced, tasks, boss, queue, run, provider };
}

function describeProducers(): void {
  beforeAll(() => {
    useContextManager();
    usePropagator();
  });
  afterAll(stopTelemetry);

  test.for<[string, unknown]>([
    ["an object", { order: 7, name: "Bob" }],
    ["an array", [1, 2]],
    ["text", "text"],
    ["nothing", null],
    ["a call of another task", { name: "other", args: ["evil"], progress: { claims: 0, ended: true } }],
    ["an envelope", { "otel-taskflow": { carrier: { "otel-taskflow": '{"v":1,"id":"x","name":"other"}' }, data: 1 } }],
  ])("a plain job with %s is the queue's own task's, in each attempt", async ([, data], context) => {
    const { boss, queue, run } = await open(context, ["other"]);
    const id = await boss.send({ name: queue, data: data as object, options: { retryLimit: 0 } });
    const all = { taskId: id, task: "own", maxAttempts: 3, tags: {}, args: [data] };
    expect(await run()).toEqual([
      { ...all, attempt: 0 },
      { ...all, attempt: 1 },
    ]);
  });

  test("a job of sendJob keeps its tags and its trace, in each attempt", async (context) => {
    const { boss, queue, run, named, span, provider: tracerProvider } = await open(context);
    const data = { name: queue, args: ["evil"] };
    const id = await sendJob(boss, queue, data, { tags: { plan: "pro" }, singletonKey: "k", tracerProvider });
    const all = { taskId: "k", task: "own", maxAttempts: 3, tags: { plan: "pro" }, args: [data] };
    expect(id).not.toBeNull();
    expect(await run()).toEqual([
      { ...all, attempt: 0 },
      { ...all, attempt: 1 },
    ]);
    const parent = span(`enqueue ${queue}`).spanContext().spanId;
    expect(named(`process ${queue}`).map((attempt) => attempt.parentSpanContext?.spanId)).toEqual([parent, parent]);
  });

  test("a job that failed through the adapter goes on as its next attempt, linked to the last", async (context) => {
    const { boss, queue, run, span, named, provider: tracerProvider } = await open(context);
    const id = await sendJob(boss, queue, { order: 7 }, { retryLimit: 3, retryDelay: 60, tracerProvider });
    const failed = vi.fn(() => Promise.reject(new Error("not here")));
    await workTask(boss, queue, { pollingIntervalSeconds: 0.5, tracerProvider }, failed);
    await vi.waitFor(
      async () => expect((await boss.findJobs(queue, { id: String(id) }))[0]?.state).toBe("retry"),
      PATIENT,
    );
    await boss.offWork(queue);
    await boss.update(queue, undefined, { id: String(id), startAfter: 0 });
    const last = span(`process ${queue}`).spanContext().spanId;
    expect(await run()).toMatchObject([{ taskId: id, attempt: 1, maxAttempts: 3, args: [{ order: 7 }] }]);
    expect(named(`process ${queue}`).map(otherLinks)[1]).toMatchObject([{ context: { spanId: last } }]);
  });

  test("schedules and flows keep their carriers, beside { name, args } too", async (context) => {
    const { boss, queue, run, provider: tracerProvider } = await open(context, ["sweep"]);
    const enqueue = (funcName: string, tags: Record<string, string>, send: Parameters<typeof enqueueTask>[1]) =>
      enqueueTask({ funcName, tags, tracerProvider }, send);
    await enqueue("sweep", { by: "clock" }, (carrier) =>
      boss.schedule(queue, "0 0 1 1 *", withCarrier({ name: "sweep", args: [1] }, carrier)),
    );
    const [schedule] = await boss.getSchedules(queue);
    await boss.send(queue, schedule?.data, { singletonKey: "scheduled" });
    await enqueue("sweep", { by: "flow" }, (carrier, id) =>
      boss.flow([
        { ref: "a", name: queue, data: withCarrier([2], carrier), options: { id, singletonKey: id } },
        { ref: "b", name: queue, data: { order: 7 }, options: { singletonKey: "b" }, dependsOn: ["a"] },
      ]),
    );
    const firsts = (await run()).filter((one) => (one as { attempt: number }).attempt === 0);
    expect(firsts).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ taskId: "scheduled", task: "sweep", tags: { by: "clock" }, args: [1] }),
        expect.objectContaining({ task: "sweep", tags: { by: "flow" }, args: [[2]] }),
        expect.objectContaining({ taskId: "b", task: "own", tags: {}, args: [{ order: 7 }] }),
      ]),
    );
    await boss.unschedule(queue);
  });
}
