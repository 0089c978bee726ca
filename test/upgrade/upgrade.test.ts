import { getTaskContext, type TaskContext, TaskManager, type TaskManagerOptions } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { graphileEngine } from "otel-taskflow/graphile-worker";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { recordSpans, stopTelemetry, useContextManager, usePropagator } from "../support/telemetry.js";
import { describeUnavailable } from "../support/unavailable.js";
import { type Release, unpackRelease } from "./release-before.js";
import { type StoreKind, storeKinds } from "./stores.js";

const NOW: Release = { TaskManager, getTaskContext, bullmqEngine, pgBossEngine, graphileEngine };
const { release: BEFORE, remove } = await unpackRelease();
const KINDS = await storeKinds();

const DIRECTIONS = [
  { title: "from the release before to this one", storing: BEFORE, running: NOW, error: "not yet" },
  // the release before could not store such a text
  { title: "from this release back to the one before", storing: NOW, running: BEFORE, error: "not \0 yet \ud83d" },
] as const;

type Run = Pick<TaskContext, "taskId" | "attempt" | "maxAttempts" | "tags"> & { readonly args: readonly unknown[] };

beforeAll(() => {
  useContextManager();
  usePropagator();
});
afterAll(async () => {
  stopTelemetry();
  for (const kind of KINDS) await kind.close();
  remove();
});

for (const kind of KINDS) {
  if (kind.unavailable !== undefined) describeUnavailable(kind.title, kind.unavailable);
  else describe.concurrent(kind.title, () => describeKind(kind));
}

function describeKind(kind: StoreKind): void {
  describe.each(DIRECTIONS)("$title", { concurrent: true }, ({ storing, running, error }) => {
    test("what is stored runs with its arguments, id, tags and trace", async ({ onTestFinished }) => {
      const { telemetry, open } = await shared(kind, onTestFinished);
      const producer = open(storing);
      const work = ({ fn }: Opened): Promise<string> => producer.tasks.addTask(fn, [1, { deep: ["ä", null] }], TAGGED);
      const taskId = await work(producer);
      await producer.tasks.addTask(producer.fn, [2], { delay: 300 });
      await producer.tasks.shutdown();
      const runs = await drain(open(running));
      expect(runs).toContainEqual({ taskId, attempt: 0, maxAttempts: 2, ...TAGGED, args: [1, { deep: ["ä", null] }] });
      expect(runs).toContainEqual(expect.objectContaining({ attempt: 0, args: [2], tags: {} }));
      expect(runs).toHaveLength(2);
      const traces = telemetry.named("process job").map((span) => span.spanContext().traceId);
      const enqueued = telemetry.named("enqueue job").map((span) => span.spanContext().traceId);
      expect(new Set(traces)).toEqual(new Set(enqueued));
    });

    test("a retry goes on under its number, linked to the attempt that failed", async ({ onTestFinished }) => {
      const { telemetry, open } = await shared(kind, onTestFinished);
      const first = open(storing, { fail: error, retryAfter: 600 });
      const taskId = await first.tasks.addTask(first.fn, [1], TAGGED);
      await first.tasks.work();
      await first.retried;
      await first.tasks.shutdown({ timeout: 5_000 });
      const runs = await drain(open(running));
      expect(runs).toEqual([{ taskId, attempt: 1, maxAttempts: 2, ...TAGGED, args: [1] }]);
      const [failed, succeeded] = telemetry.named("process job");
      const links = succeeded?.links.map(({ context: { spanId } }) => spanId);
      expect(links).toContain(failed?.spanContext().spanId);
    });

    test("an id is one task's for both: live once, found, and cancelled", async ({ onTestFinished }) => {
      const { open } = await shared(kind, onTestFinished);
      const [producer, worker] = [open(storing), open(running)];
      const later = { delay: 60_000 };
      for (const taskId of IDS) await producer.tasks.addTask(producer.fn, [taskId], { taskId, ...later });
      // a second time by the other release: it runs nothing, because the first one lives
      for (const taskId of IDS) await worker.tasks.addTask(worker.fn, ["again"], { taskId });
      const cancelled: boolean[] = [];
      for (const taskId of IDS) cancelled.push(await worker.tasks.cancel(taskId));
      expect(cancelled).toEqual(IDS.map(() => true));
      await producer.tasks.shutdown();
      expect(await drain(worker)).toEqual([]);
    });
  });
}

const TAGGED = { tags: { plan: "pro", region: "eu-1" } };
const IDS = ["order-42", "4711", "a:b", "id=x:y", "ünï çödé", "50%"];

interface Opened {
  readonly tasks: TaskManager;
  readonly fn: (...args: unknown[]) => void;
  readonly runs: Run[];
  /** Resolves when an attempt has failed. */
  readonly retried: Promise<void>;
}

/** A store that both releases use, with one telemetry. */
async function shared(kind: StoreKind, onTestFinished: TestContext["onTestFinished"]) {
  const store = await kind.open();
  const telemetry = recordSpans();
  const closers: (() => Promise<unknown>)[] = [() => store.close(), () => telemetry.provider.shutdown()];
  onTestFinished(async () => {
    for (const close of closers.reverse()) await close();
  });
  const open = (release: Release, { fail, retryAfter = 0 }: { fail?: string; retryAfter?: number } = {}): Opened => {
    const options: TaskManagerOptions = { engine: store.engine(release), tracerProvider: telemetry.provider };
    let onRetry = (): void => {};
    const retried = new Promise<void>((resolve) => {
      onRetry = resolve;
    });
    const tasks = new release.TaskManager({ ...options, onRetry });
    closers.push(() => tasks.shutdown({ timeout: 0 }));
    const runs: Run[] = [];
    const fn = tasks.task({ name: "job", retries: 1, delay: retryAfter }, (...args: unknown[]): void => {
      const { taskId, attempt, maxAttempts, tags } = release.getTaskContext() as TaskContext;
      runs.push({ taskId, attempt, maxAttempts, tags, args });
      if (fail !== undefined) throw new Error(fail);
    });
    return { tasks, fn, runs, retried };
  };
  return { telemetry, open };
}

/** Runs all that is stored; returns what ran. */
async function drain({ tasks, runs }: Opened): Promise<readonly Run[]> {
  await tasks.work();
  await tasks.idle();
  return runs;
}
