import { context, propagation } from "@opentelemetry/api";
import { enqueueTask, getTaskContext, isTaskConfigError } from "otel-taskflow";
import { addJob, withCarrier } from "otel-taskflow/graphile-worker";
import { expect, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { deferred } from "../../support/tasks.js";
import { startTelemetry } from "../../support/telemetry.js";
import { queryOnce } from "./database.js";
import { describeRoads, type Road } from "./roads.js";

await describeRoads("addJob", addJobCases);

test.each([12, 12n, "12"])(
  "the id of a job is text in telemetry, though the application has int8 parsed as %o",
  async (id) => {
    const telemetry = startTelemetry();
    const utils = { addJob: () => Promise.resolve({ id, revision: 0 }) };
    expect(await addJob(utils, "send", {})).toEqual({ id, revision: 0 });
    const { attributes } = telemetry.span("enqueue send");
    expect([attributes["task.id"], attributes["messaging.message.id"]]).toEqual(["12", "12"]);
  },
);

test("an illegal tag is refused, and nothing is added", async () => {
  const utils = { addJob: vi.fn() };
  await expect(addJob(utils, "send", {}, { tags: { "no spaces": "x" } })).rejects.toSatisfy(isTaskConfigError);
  expect(utils.addJob).not.toHaveBeenCalled();
});

function addJobCases({ addJob, withTask, open, openBare }: Road): void {
  test("a job that graphile-worker drops, because one with its key is just starting, is not counted", async () => {
    const [telemetry, metrics] = [startTelemetry(), startMetrics()];
    const { utils, url, jobs } = await open();
    await addJob(utils, "send", {}, { jobKey: "ada" });
    const dropped = await utils.withPgClient(async (client) => {
      await client.query("begin");
      await client.query("update graphile_worker._private_jobs set locked_at = now(), locked_by = 'another'");
      const adding = addJob(utils, "send", {}, { jobKey: "ada" });
      const waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
      await vi.waitUntil(async () => (await queryOnce(url, waiting)).length === 1, 5_000);
      await client.query("commit");
      return await adding;
    });
    expect([dropped.id, (await jobs()).length]).toEqual([null, 1]);
    const { dataPoints } = (await metrics.collect()).get("task.enqueued") ?? {};
    expect(dataPoints?.map(({ value }) => value)).toEqual([1]);
    expect(telemetry.named("enqueue send").map(({ attributes }) => attributes["task.id"])).not.toContain("null");
  });

  test("stores payload and options as they are, beside the flag it adds", async () => {
    const { utils, jobs } = await open();
    const spec = {
      queueName: "mail",
      priority: 3,
      maxAttempts: 7,
      jobKey: "k",
      runAt: new Date(4e12),
      flags: ["slow"],
    };
    const added = await addJob(utils, "send", { to: ["ada"], deep: { n: null } }, { ...spec, tags: { plan: "pro" } });
    expect(added).toMatchObject({ task_identifier: "send", payload: { to: ["ada"], deep: { n: null } }, key: "k" });
    const [job] = await jobs();
    const { maxAttempts, runAt } = spec;
    expect(job).toMatchObject({ queue_name: "mail", priority: 3, max_attempts: maxAttempts, key: "k", run_at: runAt });
    const [slow, carrier] = Object.keys(added.flags ?? {})
      .toSorted((a, b) => b.length - a.length)
      .toReversed();
    expect([slow, carrier?.startsWith("otel-taskflow:{")]).toEqual(["slow", true]);
  });

  test("the task gets the very payload that it gets from graphile-worker alone", async () => {
    const [bare, { utils, run }] = [await openBare(), await open()];
    const payloads = [{ a: [1, { b: null }] }, [1, [2]], [], "text", 0, false, null, undefined];
    const seen = { plain: new Map<unknown, unknown>(), ours: new Map<unknown, unknown>() };
    await bare.run({ plain: (payload, { job }) => void seen.plain.set(job.priority, payload) });
    await run({ ours: withTask((payload, { job }) => void seen.ours.set(job.priority, payload)) });
    for (const [priority, payload] of payloads.entries()) {
      await bare.utils.addJob("plain", payload, { priority });
      await addJob(utils, "ours", payload, { priority });
    }
    await vi.waitFor(
      () => expect([seen.ours.size, seen.plain.size]).toEqual([payloads.length, payloads.length]),
      5_000,
    );
    expect(seen.ours).toEqual(seen.plain);
  });

  test("id, name, attempts, tags, baggage and trace arrive with the job", async () => {
    const telemetry = startTelemetry();
    const { utils, run, ended } = await open();
    const seen: unknown[] = [];
    const look = (): void => {
      const { taskId, funcName, attempt, maxAttempts, tags } = getTaskContext() ?? {};
      const tenant = propagation.getActiveBaggage()?.getEntry("tenant")?.value;
      seen.push([taskId, funcName, attempt, maxAttempts, { ...tags }, tenant]);
    };
    await run({ send: withTask(() => Promise.resolve().then(look)) });
    const baggage = propagation.createBaggage({ tenant: { value: "t1" } });
    const add = () => addJob(utils, "send", {}, { maxAttempts: 3, tags: { plan: "pro" } });
    const { id } = await context.with(propagation.setBaggage(context.active(), baggage), add);
    await ended(id);
    expect(seen).toEqual([[id, "send", 0, 3, { plan: "pro" }, "t1"]]);
    const [enqueued, attempt] = [telemetry.span("enqueue send"), telemetry.span("process send")];
    expect(attempt.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
    const route = { "task.id": id, "task.engine": "graphile-worker", "messaging.system": "graphile-worker" };
    for (const { attributes } of [enqueued, attempt]) {
      expect(attributes).toMatchObject({ ...route, "messaging.message.id": id, "task.tag.plan": "pro" });
    }
  });

  test("takes a task's helpers: the child has its own id and tags, and knows its parent", async () => {
    const telemetry = startTelemetry();
    const { utils, run } = await open();
    const tags = deferred<unknown>();
    await run({
      parent: withTask(async (_payload, helpers) => {
        await addJob(helpers, "child", {}, { tags: { size: "s" } });
      }),
      child: withTask(() => tags.resolve({ ...getTaskContext()?.tags })),
    });
    const { id } = await addJob(utils, "parent", {}, { tags: { plan: "pro" } });
    expect(await tags.promise).toEqual({ size: "s" });
    await vi.waitFor(() => expect(telemetry.span("process child").attributes["task.parent.id"]).toBe(id), 5_000);
  });

  test("counts a job once that replaces one under its key", async () => {
    const metrics = startMetrics();
    const { utils } = await open();
    for (const size of ["s", "m"]) {
      await addJob(utils, "send", { size }, { jobKey: "k", runAt: new Date(4e12), tags: { size } });
    }
    const [point] = (await metrics.collect()).get("task.enqueued")?.dataPoints ?? [];
    expect(point?.value).toBe(1);
  });

  test("rejects as graphile-worker does, and its span says why", async () => {
    const { utils, elsewhere } = await open();
    const tooLong = "k".repeat(513);
    const plain: unknown = await elsewhere.addJob("send", {}, { jobKey: tooLong }).catch((error: unknown) => error);
    const telemetry = startTelemetry();
    const ours: unknown = await addJob(utils, "send", {}, { jobKey: tooLong }).catch((error: unknown) => error);
    expect(String(ours)).toBe(String(plain));
    expect(telemetry.span("enqueue send").status.message).toContain("jobs_key_check");
  });

  test("withCarrier does the same for other ways to add jobs", async () => {
    const { utils, run } = await open();
    const tags = deferred<unknown>();
    await run({ send: withTask(() => tags.resolve({ ...getTaskContext()?.tags })) });
    await enqueueTask({ funcName: "send", tags: { plan: "pro" } }, (carrier) => {
      const { flags } = withCarrier({ flags: ["slow"] }, carrier);
      const sql = "select graphile_worker.add_job('send', flags => $1)";
      return utils.withPgClient(async (client) => void (await client.query(sql, [flags])));
    });
    expect(await tags.promise).toEqual({ plan: "pro" });
  });
}
