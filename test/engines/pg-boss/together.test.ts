import { diag } from "@opentelemetry/api";
import type { CommandResponse } from "pg-boss";
import { afterAll, beforeAll, describe, expect, type TestContext, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { deferred } from "../../support/tasks.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend, query } from "./backends.js";
import { hearEndsNotStored } from "./lost-answers.js";
import { openTasks } from "./managers.js";

const PATIENT = { timeout: 40_000, interval: 50 };
const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("tasks of the same moment", { concurrent: true }, describeTogether);

function describeTogether(): void {
  let endsNotStored = (_id: string): string[] => [];
  beforeAll(() => {
    endsNotStored = hearEndsNotStored();
  });
  afterAll(() => diag.disable());

  test("are stored by one statement, and only those are counted that were not there", async (context) => {
    const metrics = startMetrics({ global: false });
    const { manager, queue, visitor } = openTasks(backend, context);
    const { tasks, boss } = manager({}, { meterProvider: metrics.provider });
    const task = tasks.task("task", () => {});
    await tasks.addTask(task, [], { taskId: "there" });
    const insert = vi.spyOn(boss, "insert");
    const ids = [undefined, "there", "new", "new", undefined];
    await Promise.all(ids.map((taskId) => (taskId ? tasks.addTask(task, [], { taskId }) : tasks.addTask(task))));
    expect(insert.mock.calls.map(([, jobs]) => jobs.length)).toEqual([5]);
    const counted = (await metrics.collect()).get("task.enqueued")?.dataPoints.map(({ value }) => value);
    expect(counted).toEqual([4]);
    expect(await (await visitor()).findJobs(queue, { queued: true })).toHaveLength(4);
  });

  test("are stored without one that PostgreSQL refuses", async (context) => {
    const { manager, visitor, queue } = openTasks(backend, context);
    const { schema } = backend.connection;
    await query(
      backend.url ?? "",
      `CREATE FUNCTION ${schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22000'; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON ${schema}.job_common FOR EACH ROW
        WHEN (NEW.name = '${queue}' AND NEW.singleton_key = 'refused') EXECUTE FUNCTION ${schema}.refuse()`,
    );
    const { tasks } = manager();
    const task = tasks.task("task", () => {});
    const adding = ["first", "refused", "last"].map((taskId) => tasks.addTask(task, [], { taskId }));
    const states = (await Promise.allSettled(adding)).map(({ status }) => status);
    expect(states).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const stored = (await (await visitor()).findJobs(queue, { queued: true })).map((job) => job.singletonKey);
    expect(stored.sort()).toEqual(["first", "last"]);
  });

  test("end by one statement, and only the one is not stored that somebody else has by now", async (context) => {
    const { manager, visitor, queue } = openTasks(backend, context);
    const { tasks, boss } = manager({ heartbeatSeconds: 3_600 }, { onNotice: false });
    const gate = deferred();
    const run = vi.fn(() => gate.promise);
    const task = tasks.task("task", run);
    const ids = await Promise.all([0, 1, 2].map(() => tasks.addTask(task)));
    const [lost = "", ...kept] = ids;
    await tasks.work();
    await vi.waitFor(() => expect(run).toHaveBeenCalledTimes(3), PATIENT);
    const beside = await visitor();
    await beside.fail(queue, lost, { value: { message: "job heartbeat timeout" } });
    await beside.fetch(queue, { ignoreStartAfter: true });
    const complete = vi.spyOn(boss, "complete");
    gate.resolve();
    await vi.waitFor(() => expect(endsNotStored(lost)).toHaveLength(1), PATIENT);
    await tasks.shutdown();
    expect(complete).toHaveBeenCalledOnce();
    const states = await Promise.all(ids.map((id) => beside.findJobs(queue, { id })));
    expect(states).toMatchObject([[{ state: "active" }], [{ state: "completed" }], [{ state: "completed" }]]);
    expect(kept.flatMap((id) => endsNotStored(id))).toEqual([]);
  });

  test("end together where an end before them is still being stored", async (context) => {
    const { ends, complete, answer } = await storing(context, 6);
    const [first, ...others] = ends;
    first?.();
    await vi.waitFor(() => expect(complete).toHaveBeenCalled(), PATIENT);
    for (const end of others) {
      end();
      // later than the one before, and before any timer
      for (let tick = 0; tick < 10; tick += 1) await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    answer();
    await vi.waitFor(() => expect(complete).toHaveBeenCalledTimes(2), PATIENT);
    expect(complete.mock.calls.map(([, claims]) => [claims].flat().length)).toEqual([1, 5]);
  });

  test("do not wait for an end before them whose answer never comes", async (context) => {
    const { ends, ids, queue, beside, complete } = await storing(context, 2);
    ends[0]?.();
    await vi.waitFor(() => expect(complete).toHaveBeenCalled(), PATIENT);
    ends[1]?.();
    const [, id = ""] = ids;
    await vi.waitFor(
      async () => expect(await beside.findJobs(queue, { id })).toMatchObject([{ state: "completed" }]),
      // after ten seconds without an answer that request fails
      { timeout: 8_000 },
    );
  });
}

/** Tasks that run until they are told to end; the first end that is stored is answered when the test says so. */
async function storing(context: TestContext, count: number) {
  const { manager, visitor, queue } = openTasks(backend, context);
  const { tasks, boss } = manager({ concurrency: count });
  const gates = Array.from({ length: count }, () => deferred());
  const run = vi.fn((n: number) => gates[n]?.promise);
  const task = tasks.task("task", run);
  const ids = await Promise.all(gates.map((_gate, n) => tasks.addTask(task, [n])));
  const beside = await visitor();
  await tasks.work();
  await vi.waitFor(() => expect(run).toHaveBeenCalledTimes(count), PATIENT);
  const answer = deferred();
  const original = boss.complete.bind(boss) as (...args: unknown[]) => Promise<CommandResponse>;
  const complete = vi.spyOn(boss, "complete").mockImplementation(original);
  complete.mockImplementationOnce(async (...args: unknown[]) => {
    const answered = await original(...args);
    await answer.promise;
    return answered;
  });
  context.onTestFinished(() => answer.resolve());
  return { ids, queue, beside, complete, answer: answer.resolve, ends: gates.map(({ resolve }) => resolve) };
}
