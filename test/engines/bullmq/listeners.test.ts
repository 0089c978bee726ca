import { getTaskContext, taskLog, taskLogFields } from "otel-taskflow";
import { addJob } from "otel-taskflow/bullmq";
import { expect, test, vi } from "vitest";
import { listenersOf, processorOf } from "../../../src/adapters/bullmq-run.js";
import { doorOf } from "../../../src/adapters/door.js";
import { startTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Job, type Lab } from "./lab.js";

const EVENTS = ["active", "progress", "completed", "failed"] as const;
const door = doorOf("test", {});

interface Heard {
  readonly event: string;
  readonly isOwn: boolean;
  readonly attempt: number | undefined;
  readonly tags: unknown;
  readonly traceId: unknown;
}

/** Works on a queue with a worker that tells of its jobs inside their tasks, and notes how each listener is called. */
function listenIn(lab: Lab, handler: (job: Job) => Promise<unknown>, heard: Heard[]): void {
  const note = (event: string, job: Job): void => {
    taskLog(`heard ${event}`);
    const { taskId, attempt, tags } = getTaskContext() ?? {};
    const { task_id, trace_id } = taskLogFields();
    heard.push({ event, isOwn: taskId === job.id && task_id === job.id, attempt, tags, traceId: trace_id });
  };
  const backoffStrategy = (_made: number, _type?: string, _error?: Error, job?: unknown): number => {
    note("backoffStrategy", job as Job);
    return 5;
  };
  const worker = lab.work(processorOf(door, handler as never) as never, {
    concurrency: 10,
    settings: { backoffStrategy },
  });
  const inTask = listenersOf(door);
  const emit = worker.emit.bind(worker) as (...args: unknown[]) => boolean;
  worker.emit = (event: string, ...args: unknown[]) => inTask(args[0], () => emit(event, ...args));
  for (const event of EVENTS) worker.on(event as "completed", (job: Job) => note(event, job));
}

await describeVersions("listeners of a worker", (open) => {
  test("run in the task of the job that they are told of, with the attempt's number", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const heard: Heard[] = [];
    const handler = async (job: Job): Promise<void> => {
      await job.updateProgress(50);
      if (job.name === "bad") throw new Error("no");
    };
    listenIn(lab, handler, heard);
    const options = { attempts: 2, backoff: { type: "custom" }, tags: { plan: "pro" } };
    const added = Array.from({ length: 10 }, (_, index) => addJob(lab.queue, index % 2 ? "bad" : "good", {}, options));
    await Promise.all(added);
    await vi.waitFor(() => expect(heard.filter(({ event }) => event === "failed")).toHaveLength(10), 5_000);
    await vi.waitFor(() => expect(heard.filter(({ event }) => event === "completed")).toHaveLength(5), 5_000);
    expect(heard.filter(({ isOwn }) => !isOwn)).toEqual([]);
    expect(new Set(heard.map(({ event }) => event))).toEqual(new Set([...EVENTS, "backoffStrategy"]));
    for (const { tags } of heard) expect(tags).toEqual({ plan: "pro" });
    const attemptsOf = (what: string): unknown[] =>
      heard.flatMap(({ event, attempt }) => (event === what ? [attempt] : []));
    expect([...attemptsOf("failed")].toSorted()).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    expect([...attemptsOf("active")].toSorted()).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    const traces = new Set(telemetry.named("enqueue bad").map((span) => span.spanContext().traceId));
    for (const { event, traceId } of heard) if (event === "failed") expect(traces).toContain(traceId);
  });

  test("put no line on a span that has ended, and throw what they throw", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    const heard: Heard[] = [];
    listenIn(lab, async () => {}, heard);
    const { id } = await addJob(lab.queue, "good", {});
    await lab.reaches("completed", id);
    await vi.waitFor(() => expect(heard.map(({ event }) => event)).toEqual(["active", "completed"]));
    expect(telemetry.spans().flatMap(({ events }) => events)).toEqual([]);
    const inTask = listenersOf(door);
    const error = new Error("of the listener");
    const fail = (): never => {
      throw error;
    };
    for (const told of [{ id, data: {} }, undefined, "id"]) expect(() => inTask(told, fail)).toThrow(error);
    expect(getTaskContext()).toBeUndefined();
  });

  test("run in their task where nothing carries OpenTelemetry's context", async () => {
    const lab = open();
    const heard: Heard[] = [];
    listenIn(lab, async () => {}, heard);
    const { id } = await addJob(lab.queue, "good", {}, { tags: { plan: "pro" } });
    await lab.reaches("completed", id);
    await vi.waitFor(() => expect(heard).toHaveLength(2));
    expect(heard.map(({ isOwn }) => isOwn)).toEqual([true, true]);
  });
});
