import { diag } from "@opentelemetry/api";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
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
else describe("tasks of the same moment", { timeout: 90_000, concurrent: true }, describeTogether);

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
}
