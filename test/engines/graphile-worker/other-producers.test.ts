import { Logger } from "graphile-worker";
import { getTaskContext, NonRetryableError } from "otel-taskflow";
import { addJob } from "otel-taskflow/graphile-worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { createTasks } from "../../support/tasks.js";
import { startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { queryOnce } from "./database.js";
import { GRAPHILE, VERSIONS, type Version } from "./versions.js";
import { createStore } from "./worlds.js";

const { url: server = "", unavailable } = await postgresUrl();

if (unavailable !== undefined) describeUnavailable("jobs of other producers", unavailable);
else for (const version of VERSIONS) describe(`graphileEngine with ${version} runs`, () => producerCases(version));

function producerCases(version: Version): void {
  const { makeWorkerUtils, parseCronItems } = GRAPHILE[version];

  const open = async () => {
    const store = await createStore(version, server);
    onTestFinished(() => store.close());
    const utils = await makeWorkerUtils({ connectionString: store.url });
    onTestFinished(() => utils.release());
    await utils.migrate();
    const seen: unknown[] = [];
    const look = (...args: unknown[]): number => {
      const { taskId, attempt = 0, maxAttempts, tags } = getTaskContext() ?? {};
      seen.push([taskId, attempt, maxAttempts, { ...tags }, args]);
      return attempt;
    };
    return { store, utils, seen, look };
  };

  test("a plain job as the task of its name, by the runner's policy, and keeps what graphile-worker goes by", async () => {
    const { store, utils, seen, look } = await open();
    const rows: unknown[] = [];
    const tasks = createTasks({ engine: store.engine() });
    tasks.task({ name: "sync", retries: 1, delay: 10 }, async (payload: unknown) => {
      rows.push(...(await queryOnce(store.url, "select priority, queue_name, flags from graphile_worker.jobs")));
      if (look(payload) === 0) throw new Error("not yet");
    });
    const spec = { maxAttempts: 1, priority: 3, queueName: "one by one", flags: ["slow"] };
    const { id } = await utils.addJob("sync", { user: 7, next: { attempt: 1 } }, spec);
    await tasks.work();
    await tasks.idle();
    const payload = { user: 7, next: { attempt: 1 } };
    expect(seen).toEqual([0, 1].map((attempt) => [id, attempt, 2, {}, [payload]]));
    expect(rows).toEqual([0, 1].map(() => ({ priority: 3, queue_name: "one by one", flags: { slow: true } })));
  });

  test("a job of the adapter's, with the tags and the trace it was added with, in each attempt", async () => {
    const telemetry = startTelemetry();
    const { store, utils, seen, look } = await open();
    const tasks = createTasks({ engine: store.engine() });
    tasks.task({ name: "charge", retries: 2, delay: 10 }, (payload: unknown) => {
      if (look(payload) === 0) throw new Error("not yet");
    });
    const { id } = await addJob(utils, "charge", [1, 2], { maxAttempts: 9, jobKey: "order-1", tags: { plan: "pro" } });
    await tasks.work();
    await tasks.idle();
    expect(id).toEqual(expect.any(String));
    expect(seen).toEqual([0, 1].map((attempt) => ["order-1", attempt, 3, { plan: "pro" }, [[1, 2]]]));
    const parent = telemetry.span("enqueue charge").spanContext().spanId;
    expect(telemetry.named("process charge").map((span) => span.parentSpanContext?.spanId)).toEqual([parent, parent]);
  });

  test("a plain job that gives up, and has spent its attempts before graphile-worker lets go of it", async () => {
    const { store, utils } = await open();
    const tasks = createTasks({ engine: store.engine() });
    tasks.task("sync", () => Promise.reject(new NonRetryableError("no such user")));
    const note = `create function note() returns trigger language plpgsql as $$ begin
      insert into freed values (new.attempts); return new; end $$`;
    const freeing = "for each row when (old.locked_at is not null and new.locked_at is null)";
    await queryOnce(
      store.url,
      `create table freed (attempts int); ${note};
      create trigger note after update on graphile_worker._private_jobs ${freeing} execute function note()`,
    );
    await utils.addJob("sync", {});
    await tasks.work();
    await tasks.idle();
    const freed = (): Promise<unknown[]> => queryOnce(store.url, "select attempts from freed");
    await vi.waitFor(async () => expect(await freed()).toEqual([{ attempts: 32_767 }]), 5_000);
  });

  test("a job that failed before it came to this engine, as its next attempt", async () => {
    const { store, utils, seen, look } = await open();
    const tasks = createTasks({ engine: store.engine() });
    tasks.task({ name: "sync", retries: 2 }, look);
    const { id } = await utils.addJob("sync", {});
    await queryOnce(store.url, "update graphile_worker._private_jobs set attempts = 2, last_error = 'no'");
    await tasks.work();
    await tasks.idle();
    expect(seen).toEqual([[id, 2, 3, {}, [{}]]]);
  });

  test("an item of a crontab", async () => {
    const { store, seen, look } = await open();
    const tasks = createTasks({ engine: store.engine() });
    tasks.task("tick", look);
    const item = { task: "tick", match: "* * * * *", identifier: "tick", payload: { a: 1 } };
    const known = "insert into graphile_worker._private_known_crontabs (identifier, known_since)";
    await queryOnce(store.url, `${known} values ('tick', now() - interval '90 seconds')`);
    const parsedCronItems = parseCronItems([{ ...item, options: { backfillPeriod: 300_000 } }]);
    const own = { connectionString: store.url, taskList: { nothing: () => {} }, noHandleSignals: true };
    const logger = new Logger(() => () => {});
    const scheduler = await GRAPHILE[version].run({ ...own, logger, parsedCronItems });
    await tasks.work();
    await vi.waitFor(() => expect(seen).not.toEqual([]), 5_000);
    await scheduler.stop();
    const _cron = expect.objectContaining({ backfilled: true });
    expect(seen[0]).toEqual([expect.any(String), 0, 1, {}, [{ a: 1, _cron }]]);
  });
}
