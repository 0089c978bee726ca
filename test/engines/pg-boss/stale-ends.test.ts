import { diag } from "@opentelemetry/api";
import type { TaskManager } from "otel-taskflow";
import type { PgBoss } from "pg-boss";
import { afterAll, beforeAll, describe, expect, type TestContext, test, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { hearEndsNotStored, lose } from "./lost-answers.js";
import { openTasks } from "./managers.js";

const PATIENT = { timeout: 40_000, interval: 50 };
const backend = await postgresBackend();
afterAll(() => backend.close());

const PAST: unknown = expect.toSatisfy((time: Date) => time.getTime() < Date.now() + 2_000);
/** How a run ends whose claim is gone. */
const ends = [
  ["a success", 0, () => {}],
  ["a failure", 0, fail],
  ["a retry", 1, fail],
] as const;

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("the end of a run that was taken for lost", { concurrent: true }, describeStaleEnds);

function describeStaleEnds(): void {
  let endsNotStored = (_id: string): string[] => [];
  beforeAll(() => {
    endsNotStored = hearEndsNotStored();
  });
  afterAll(() => diag.disable());

  test.for(ends)("leaves alone whoever has the task by now: %s", async ([, retries, end], context) => {
    const { tasks, boss, beside, queue, id, finish } = await lostRun(context, retries, end);
    await beside.fetch(queue, { ignoreStartAfter: true });
    const sent = lose(boss, "answer", Number.POSITIVE_INFINITY);
    finish();
    await vi.waitFor(() => expect(sent).toContain("findJobs"), PATIENT);
    expect(await tasks.shutdown({ timeout: 30_000 })).toMatchObject({ abandoned: [] });
    expect(sent.filter((name) => name === "findJobs")).toHaveLength(1);
    expect(endsNotStored(id)).toHaveLength(1);
    expect(await beside.findJobs(queue, { id })).toMatchObject([{ state: "active", retryCount: 1, startAfter: PAST }]);
  });

  test.for(ends)("leaves alone a task that somebody else gave back: %s", async ([, retries, end], context) => {
    const { boss, beside, queue, id, finish, tasks } = await lostRun(context, retries, end);
    await beside.fetch(queue, { ignoreStartAfter: true });
    await beside.fail(queue, id, { "otel-taskflow": { claims: 1 } });
    await beside.update(queue, undefined, { id, startAfter: 60 });
    const sent = lose(boss, "answer", Number.POSITIVE_INFINITY);
    finish();
    await vi.waitFor(() => expect(endsNotStored(id)).toHaveLength(1), PATIENT);
    expect(await tasks.shutdown({ timeout: 30_000 })).toMatchObject({ abandoned: [] });
    expect(sent.filter((name) => name === "update")).toEqual([]);
    expect(await beside.findJobs(queue, { id })).toMatchObject([{ state: "retry", retryCount: 1 }]);
  });

  test("leaves alone whoever has the task by now: a cancelled one", async (context) => {
    const { tasks, beside, queue, id, finish } = await lostRun(context, 0, () => {});
    await beside.fetch(queue, { ignoreStartAfter: true });
    expect(await tasks.cancel(id)).toBe(false);
    finish();
    expect(await beside.findJobs(queue, { id })).toMatchObject([{ state: "active", retryCount: 1 }]);
  });

  test.for(ends.slice(0, 2))("is stored by the claim that would run it again: %s", async ([, , end], context) => {
    const { tasks, boss, beside, queue, id, finish, run } = await lostRun(context, 0, end);
    const sent = lose(boss, "answer", Number.POSITIVE_INFINITY);
    finish();
    await vi.waitFor(() => expect(sent).toContain("findJobs"), PATIENT);
    const state = end === fail ? "failed" : "completed";
    await vi.waitFor(async () => expect(await beside.findJobs(queue, { id })).toMatchObject([{ state }]), PATIENT);
    await tasks.idle();
    expect(run).toHaveBeenCalledOnce();
  });

  test("of a job that was deleted holds up nothing", async (context) => {
    const { tasks, beside, queue, id, finish } = await lostRun(context, 0, () => {});
    await beside.deleteJob(queue, id);
    finish();
    await tasks.idle();
    expect(await tasks.shutdown({ timeout: 30_000 })).toMatchObject({ abandoned: [] });
  });
}

interface LostRun {
  readonly tasks: TaskManager;
  readonly boss: PgBoss;
  readonly beside: PgBoss;
  readonly queue: string;
  readonly id: string;
  readonly run: ReturnType<typeof vi.fn>;
  /** Lets the run end. */
  finish(): void;
}

/** A task that runs, and whose claim pg-boss takes for lost meanwhile. */
async function lostRun(context: TestContext, retries: number, end: () => unknown): Promise<LostRun> {
  const { manager, visitor, queue } = openTasks(backend, context);
  const { tasks, boss } = manager({ concurrency: 1, heartbeatSeconds: 3_600 }, { onNotice: false });
  const gate = deferred();
  const run = vi.fn(async () => {
    await gate.promise;
    return end();
  });
  const id = await tasks.addTask(tasks.task({ name: "task", retries, delay: 60_000 }, run));
  await tasks.work();
  await vi.waitFor(() => expect(run).toHaveBeenCalled(), PATIENT);
  const beside = await visitor();
  // what pg-boss does to an attempt that gives no sign of life
  await beside.fail(queue, id, { value: { message: "job heartbeat timeout" } });
  return { tasks, boss, beside, queue, id, run, finish: gate.resolve };
}

function fail(): never {
  throw new Error("no");
}
