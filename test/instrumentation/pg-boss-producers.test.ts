import { context, propagation, trace } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { TaskManager } from "otel-taskflow";
import { TaskInstrumentation } from "otel-taskflow/instrumentation";
import { pgBossEngine, sendJob, withTasks } from "otel-taskflow/pg-boss";
import pg from "pg";
import * as pgBoss from "pg-boss";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { startMetrics } from "../support/metrics.js";
import { describeUnavailable } from "../support/unavailable.js";
import { backend, type Lab, openLab, PlainPgBoss, traceIn, traceOf } from "./pg-boss-lab.js";

const { PgBoss } = withTasks(pgBoss);
const TITLE = "producers of a wrapped pg-boss";
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(TITLE, backend.unavailable);
else describe(TITLE, cases);

const DATA = { n: 1 };
type Way = (lab: Lab) => Promise<unknown>;

const WAYS: readonly (readonly [what: string, data: unknown, way: Way])[] = [
  ["send", DATA, ({ boss, queue }) => boss.send(queue, DATA, { priority: 1 })],
  ["send with null", null, ({ boss, queue }) => boss.send(queue, null)],
  ["send without data", null, ({ boss, queue }) => boss.send(queue)],
  ["send with a request", DATA, ({ boss, queue }) => boss.send({ name: queue, data: DATA, options: {} })],
  ["sendAfter", DATA, ({ boss, queue }) => boss.sendAfter(queue, DATA, {}, 1)],
  ["sendThrottled", DATA, ({ boss, queue }) => boss.sendThrottled(queue, DATA, {}, 60)],
  ["sendDebounced", DATA, ({ boss, queue }) => boss.sendDebounced(queue, DATA, {}, 60)],
  ["insert", DATA, ({ boss, queue }) => boss.insert(queue, [{ data: DATA }], { returnId: true })],
  ["upsert", DATA, ({ boss, queue }) => boss.upsert(queue, DATA, { singletonKey: "one" })],
  ["flow", DATA, async (lab) => flowTo(lab, await lab.addQueue())],
  ["sendJob", DATA, ({ boss, queue }) => sendJob(boss, queue, DATA)],
  [
    "publish",
    DATA,
    async ({ boss, queue }) => {
      await boss.subscribe(`event-${queue}`, queue);
      await boss.publish(`event-${queue}`, DATA);
    },
  ],
];

function cases(): void {
  test.each(WAYS)("%s makes one enqueue span, and a carrier beside the data", async (_what, data, way) => {
    const lab = await openLab(PgBoss);
    const traceId = await lab.inRequest(() => way(lab));
    const [job, ...others] = await lab.stored();
    expect([job?.data, others]).toEqual([data, []]);
    expect(job?.trace_context).toHaveProperty("otel-taskflow");
    const enqueued = lab.span(`enqueue ${lab.queue}`);
    expect([traceOf(enqueued), traceIn(job)]).toEqual([traceId, traceId]);
    expect(enqueued.attributes["task.id"]).toBe(job?.id);
    expect(lab.spans().filter((span) => span.instrumentationScope.name === "pg-boss")).toEqual([]);
  });

  test("send resolves to the id that was given, and to null where pg-boss stores no job, which is not counted", async () => {
    const metrics = startMetrics();
    const lab = await openLab(PgBoss);
    const short = await lab.addQueue({ policy: "short" });
    const id = crypto.randomUUID();
    expect([await lab.boss.send(short, {}, { id }), await lab.boss.send(short, {})]).toEqual([id, null]);
    const { boss } = lab;
    expect(await boss.upsert(short, { n: 2 }, { id })).toEqual({ jobs: [id], updated: 1, inserted: 0 });
    expect(await enqueuedBy(metrics)).toEqual([[short, 1]]);
  });

  test("publish makes an enqueue span for each queue, with that queue's tags", async () => {
    const tags = ({ queue, data }: { queue: string; data: unknown }) => ({ queue, n: Reflect.get(Object(data), "n") });
    instrument({ tags });
    const lab = await openLab(PgBoss);
    const other = await lab.addQueue();
    for (const queue of [lab.queue, other]) await lab.boss.subscribe("paid", queue);
    const traceId = await lab.inRequest(() => lab.boss.publish("paid", DATA));
    for (const queue of [lab.queue, other]) {
      const [job] = await lab.stored(queue);
      const enqueued = lab.span(`enqueue ${queue}`);
      expect(enqueued.attributes).toMatchObject({ "task.id": job?.id, "task.tag.queue": queue, "task.tag.n": "1" });
      expect([traceOf(enqueued), job?.trace_context?.traceparent?.split("-")[2]]).toEqual([
        traceId,
        enqueued.spanContext().spanId,
      ]);
      await lab.boss.unsubscribe("paid", queue);
    }
  });

  test("a published job that cannot be sent has failed its enqueue span, and its publisher hears it", async () => {
    const lab = await openLab(PgBoss);
    const strict = await lab.addQueue({ policy: "key_strict_fifo" });
    await lab.boss.subscribe("refused", strict);
    await expect(lab.boss.publish("refused", DATA)).rejects.toThrow("failed for 1 of 1");
    const { status, events } = lab.span(`enqueue ${strict}`);
    expect([status.code, events.map(({ name }) => name)]).toEqual([2, ["exception"]]);
    await lab.boss.unsubscribe("refused", strict);
  });

  test("many jobs are one enqueue span with the tags that all have, and each is counted", async () => {
    const metrics = startMetrics();
    instrument({ tags: ({ data }) => ({ tenant: "acme", n: Reflect.get(Object(data), "n") }) });
    const lab = await openLab(PgBoss);
    const other = await lab.addQueue();
    const jobs = Object.freeze([1, 2, 3].map((n) => Object.freeze({ data: { n } })));
    await lab.boss.insert(lab.queue, [...jobs]);
    await flowTo(lab, other);
    const spans = lab.named(`enqueue ${lab.queue}`);
    expect(spans.map(({ attributes }) => [attributes["task.tag.tenant"], attributes["task.tag.n"]])).toEqual([
      ["acme", undefined],
      ["acme", undefined],
    ]);
    expect(new Map((await enqueuedBy(metrics)) ?? [])).toEqual(
      new Map([
        [lab.queue, 4],
        [other, 1],
      ]),
    );
  });

  test("a job is stored or rolled back with its sender's transaction, also by an instance that never starts", async () => {
    const lab = await openLab(PgBoss);
    const client = new pg.Client({ connectionString: backend.url });
    await client.connect();
    onTestFinished(() => client.end());
    const db = { executeSql: (text: string, values?: unknown[]) => client.query(text, values) };
    await client.query("begin");
    const rolledBack = await lab.boss.send(lab.queue, { n: 0 }, { db });
    await client.query("rollback");
    const { schema = "" } = backend.connection;
    const never = new PgBoss({ db, schema, migrate: false, supervise: false, schedule: false });
    const traceId = await lab.inRequest(() => never.send(lab.queue, DATA));
    const jobs = await lab.stored();
    expect([rolledBack, jobs.length, jobs[0]?.data, traceIn(jobs[0])]).toEqual([expect.any(String), 1, DATA, traceId]);
  });

  test("a service's own spans and propagator are used as before", async () => {
    const injected: unknown[] = [];
    const propagator = new W3CTraceContextPropagator();
    const inject: typeof propagator.inject = (from, carrier, setter) => {
      injected.push(trace.getSpanContext(from)?.spanId);
      setter.set(carrier, "x-own", "yes");
    };
    const { fields, extract } = propagator;
    const openTelemetry = { propagateContext: true, propagator: { fields, extract, inject } };
    const lab = await openLab(PgBoss, { openTelemetry });
    await lab.boss.send(lab.queue, DATA);
    const sent = lab.span(`send ${lab.queue}`);
    const enqueued = lab.span(`enqueue ${lab.queue}`);
    expect(sent.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
    expect(injected).toEqual([sent.spanContext().spanId]);
    const [job] = await lab.stored();
    expect(Object.keys(job?.trace_context ?? {}).sort()).toEqual(["otel-taskflow", "traceparent", "x-own"]);
  });

  test("pg-boss's own telemetry stays off where it was switched off", async () => {
    const lab = await openLab(PgBoss, { openTelemetry: { enabled: false } });
    const traceId = await lab.inRequest(() => lab.boss.send(lab.queue, DATA));
    expect(traceIn((await lab.stored())[0])).toBe(traceId);
    expect(lab.spans().map(({ name }) => name)).toEqual([`enqueue ${lab.queue}`, "request"]);
  });

  test("subclasses work, and instanceof holds, whichever class is asked", async () => {
    class Own extends PgBoss {
      override send(...args: never[]): Promise<string | null> {
        return Reflect.apply(super.send, this, args);
      }
    }
    const lab = await openLab(Own as typeof PgBoss);
    await lab.boss.send(lab.queue, DATA);
    expect([Own, PgBoss, PlainPgBoss].map((Class) => lab.boss instanceof Class)).toEqual([true, true, true]);
    expect([
      lab.named(`enqueue ${lab.queue}`).length,
      Object.keys((await lab.stored())[0]?.trace_context ?? {}),
    ]).toEqual([1, ["traceparent", "otel-taskflow"]]);
  });

  test.each<[what: string, config: ConstructorParameters<typeof TaskInstrumentation>[0]]>([
    ["where workers are to be deployed first", { producer: false }],
    ["of a job that is ignored", { ignore: () => true }],
  ])("nothing is stored %s", async (_what, config) => {
    instrument(config);
    const lab = await openLab(PgBoss);
    await lab.boss.subscribe("quiet", lab.queue);
    await lab.boss.send(lab.queue, DATA);
    await lab.boss.insert(lab.queue, [{ data: DATA }]);
    await lab.boss.publish("quiet", DATA);
    await lab.boss.unsubscribe("quiet", lab.queue);
    expect((await lab.stored()).map((job) => job.trace_context)).toEqual([null, null, null]);
    expect(lab.spans()).toEqual([]);
  });

  test("an instance without the column gets enqueue spans, and carriers in the data only where it is asked for", async () => {
    const lab = await openLab(PlainPgBoss);
    await lab.boss.send(lab.queue, DATA);
    instrument({ pgBoss: { carrier: "data" } });
    await lab.boss.send(lab.queue, DATA);
    await lab.boss.insert(lab.queue, [{ data: DATA }, { data: DATA }]);
    await flowTo(lab, lab.queue);
    const jobs = await lab.stored();
    const places = jobs.map(({ data, trace_context }) => [Object.keys(Object(data)).length, trace_context]);
    expect(places).toEqual([1, 2, 2, 2, 2, 2].map((keys) => [keys, null]));
    expect(lab.named(`enqueue ${lab.queue}`)).toHaveLength(4);
  });

  test("the tasks of this library's own engine are counted once", async () => {
    const lab = await openLab(PgBoss);
    const engine = pgBossEngine({ boss: lab.boss, queue: await lab.addQueue({ policy: "exclusive" }) });
    const tasks = new TaskManager({ engine });
    const greet = tasks.task("greet", async () => {});
    await tasks.work();
    await tasks.addTask(greet);
    await tasks.idle();
    await tasks.shutdown();
    expect(lab.spans().map(({ name }) => name)).toEqual(["enqueue greet", "process greet"]);
  });

  test("insert counts each of its jobs, stored or refused, and measures its one call once", async () => {
    const { collect } = startMetrics();
    const { boss, queue } = await openLab(PgBoss);
    const jobs = [{ data: DATA }, { data: DATA }, { data: DATA }];
    await boss.insert(queue, jobs);
    await expect(boss.insert("no-such-queue", jobs)).rejects.toThrow();
    const metrics = await collect();
    const counts = ["task.enqueued", "messaging.client.sent.messages", "messaging.client.operation.duration"].map(
      (name) =>
        metrics.get(name)?.dataPoints.map(({ value, attributes }) => {
          const count = typeof value === "number" ? value : "count" in value && value.count;
          return [attributes["messaging.destination.name"] === queue, attributes["error.type"], count];
        }),
    );
    expect(counts).toEqual(
      [3, 3, 1].map((count) => [
        [true, undefined, count],
        [false, "Error", count],
      ]),
    );
  });

  test("flow counts each of its jobs under its own label", async () => {
    const metrics = startMetrics();
    const wrapped = withTasks(pgBoss, { name: ({ queue }) => `label of ${queue}` });
    const lab = await openLab(wrapped.PgBoss);
    const other = await lab.addQueue();
    await flowTo(lab, other);
    const labels = [lab.queue, other].map((queue) => [`label of ${queue}`, 1]);
    expect((await enqueuedBy(metrics))?.sort()).toEqual(labels.sort());
  });

  test("works where nothing of OpenTelemetry is registered, publish included", async () => {
    const lab = await openLab(PgBoss);
    for (const api of [trace, context, propagation]) api.disable();
    await lab.boss.subscribe("silent", lab.queue);
    await lab.boss.send(lab.queue, DATA);
    await lab.boss.publish("silent", DATA);
    await lab.boss.unsubscribe("silent", lab.queue);
    const jobs = await lab.stored();
    expect(jobs.map((job) => Object.keys(job.trace_context ?? {}))).toEqual([["otel-taskflow"], ["otel-taskflow"]]);
  });
}

function instrument(config?: ConstructorParameters<typeof TaskInstrumentation>[0]): void {
  const instrumentation = new TaskInstrumentation(config);
  // as OpenTelemetry's hook does where the module is loaded
  for (const { name, patch } of instrumentation.getModuleDefinitions?.() ?? []) if (name === "pg-boss") patch?.(pgBoss);
  onTestFinished(() => instrumentation.disable());
}

/** A flow of two jobs, of which the second waits for the first. */
function flowTo({ boss, queue }: Lab, other: string): Promise<unknown> {
  const last = { name: other, ref: "b", data: { n: 2 }, dependsOn: ["a"] };
  return boss.flow([{ name: queue, ref: "a", data: DATA }, last]);
}

async function enqueuedBy({ collect }: ReturnType<typeof startMetrics>): Promise<[unknown, unknown][] | undefined> {
  const points = (await collect()).get("task.enqueued")?.dataPoints;
  return points?.map(({ attributes, value }) => [attributes["task.name"], value]);
}
