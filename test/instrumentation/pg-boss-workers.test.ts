import { context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { getTaskContext, NonRetryableError, runAttempt, taskLog } from "otel-taskflow";
import { carrierOf, inTask, sendJob, type TaskJob, withTasks, workTask } from "otel-taskflow/pg-boss";
import * as pgBoss from "pg-boss";
import { afterAll, describe, expect, test, vi } from "vitest";
import { startMetrics } from "../support/metrics.js";
import { describeUnavailable } from "../support/unavailable.js";
import { backend, type Lab, openBare, openLab, traceOf } from "./pg-boss-lab.js";

const { PgBoss } = withTasks(pgBoss, {
  carrier: ({ data }) => Reflect.get(Object(data), "carrier"),
  tags: ({ data }) => ({ n: Reflect.get(Object(data), "n") }),
});
const TITLE = "workers of a wrapped pg-boss";
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(TITLE, backend.unavailable);
else {
  describe(TITLE, () => {
    describe("a job that is alone in its batch", aloneCases);
    describe("a batch of several", severalCases);
    describe("a job's carrier", carrierCases);
  });
}

const task = () => getTaskContext();
const once = (lab: Lab, count: number) => lab.reach("completed", count);

function aloneCases(): void {
  test("has its handler called in its task, in the trace of its producer, with keys and data as before", async () => {
    const lab = await openLab(PgBoss);
    const seen: unknown[] = [];
    await lab.work(async (jobs) => {
      const [{ id, data } = { id: "", data: {} }] = jobs;
      seen.push(jobs.length, task()?.taskId === id, task()?.maxAttempts, data, Object.keys(jobs[0] ?? {}).length);
    });
    const traceId = await lab.inRequest(() => lab.boss.send(lab.queue, { n: 1 }));
    await once(lab, 1);
    expect(seen).toEqual([1, true, 1, { n: 1 }, 9]);
    const attempt = lab.span(`process ${lab.queue}`);
    expect([traceOf(attempt), attempt.attributes["task.outcome"]]).toEqual([traceId, "success"]);
    expect(attempt.parentSpanContext?.spanId).toBe(lab.span(`enqueue ${lab.queue}`).spanContext().spanId);
  });

  test.each<[who: string, options: object, result: (id: string) => unknown]>([
    ["pg-boss settles", {}, () => ({ text: "a\0b" })],
    ["its handler settles", { perJobResults: true }, (id) => [{ id, status: "completed", output: { text: "a\0b" } }]],
  ])("that %s is done, although PostgreSQL refuses the text of its result", async (_who, options, result) => {
    const lab = await openLab(PgBoss);
    await lab.work(async ([job]) => result(job?.id ?? ""), options);
    await lab.boss.send(lab.queue, {}, { retryLimit: 1, retryDelay: 0 });
    const [job] = await once(lab, 1);
    expect(job?.output).toEqual({ text: "a\ufffdb" });
    expect(lab.named(`process ${lab.queue}`).map(({ attributes }) => attributes["task.outcome"])).toEqual(["success"]);
  });

  test("has an attempt a run, linked to the one before, and the outcome that pg-boss will make of it", async () => {
    const metrics = startMetrics();
    const lab = await openLab(PgBoss);
    await lab.work(async () => {
      throw new Error(`attempt ${task()?.attempt}`);
    });
    await lab.boss.send(lab.queue, {}, { retryLimit: 1, retryDelay: 0 });
    const [job] = await lab.reach("failed", 1);
    expect(job?.output).toMatchObject({ message: "attempt 1" });
    const [first, second] = lab.named(`process ${lab.queue}`);
    expect([first, second].map((span) => span?.attributes["task.outcome"])).toEqual(["retry", "failure"]);
    const previous = second?.links.find(({ attributes }) => attributes?.["task.link"] === "previous_attempt");
    expect(previous?.context.spanId).toBe(first?.spanContext().spanId);
    expect((await metrics.collect()).get("task.finished")?.dataPoints.map(({ value }) => value)).toEqual([1]);
  });

  test("is failed for good by a NonRetryableError", async () => {
    const lab = await openLab(PgBoss);
    await lab.work(async () => {
      throw new NonRetryableError("no such customer");
    });
    await lab.boss.send(lab.queue, {}, { retryLimit: 5, retryDelay: 0 });
    const [job] = await lab.reach("failed", 1);
    expect(job?.output).toMatchObject({ message: "no such customer" });
    expect(lab.span(`process ${lab.queue}`).attributes["task.outcome"]).toBe("failure");
  });

  test("is retried by pg-boss where its worker is transactional, and its attempts say so", async () => {
    const lab = await openLab(PgBoss);
    await lab.work(
      async () => {
        throw new NonRetryableError("no");
      },
      { transactional: true },
    );
    await lab.boss.send(lab.queue, {}, { retryLimit: 1, retryDelay: 0 });
    await lab.reach("failed", 1);
    const outcomes = lab.named(`process ${lab.queue}`).map(({ attributes }) => attributes["task.outcome"]);
    expect(outcomes).toEqual(["retry", "failure"]);
  });

  test("has timed out where pg-boss says so, in pg-boss's words", async () => {
    const lab = await openLab(PgBoss);
    await lab.work(([job]) => new Promise((resolve) => job?.signal.addEventListener("abort", resolve)));
    await lab.boss.send(lab.queue, {}, { expireInSeconds: 1 });
    const [job] = await lab.reach("failed", 1);
    expect(job?.output).toMatchObject({ message: "handler execution exceeded 1s" });
    expect(lab.span(`process ${lab.queue}`).attributes["error.type"]).toBe("TaskTimeoutError");
  });

  test.each<[what: string, end: () => unknown]>([
    ["an object", () => ({ done: true, deep: [1, { two: "2" }] })],
    ["a text", () => "done"],
    ["nothing", () => undefined],
    [
      "an error with fields of its own",
      () => Promise.reject(Object.assign(new TypeError("no"), { code: 7, stack: "x" })),
    ],
    ["a text that it throws", () => Promise.reject("no")],
  ])("leaves %s in the store as without this library", async (_what, end) => {
    const outputs: unknown[] = [];
    for (const isWrapped of [true, false]) {
      const lab = await openLab(PgBoss);
      const work = () => lab.work(end);
      await (isWrapped ? work() : (await openBare()).work(lab.queue, end));
      await lab.boss.send(lab.queue, {});
      const [job] = await vi.waitFor(async () => {
        const jobs = await lab.stored();
        if (jobs[0]?.state !== "completed" && jobs[0]?.state !== "failed") throw new Error("it has not ended");
        return jobs;
      }, 10_000);
      outputs.push([job?.state, JSON.stringify(job?.output)]);
    }
    expect(outputs[0]).toEqual(outputs[1]);
  });
}

function severalCases(): void {
  test("is one call outside of any task, in a span that links to each job's attempt", async () => {
    const lab = await openLab(PgBoss);
    const traces = await sendEach(lab, 3);
    const calls: unknown[] = [];
    await lab.work(
      async (jobs) => {
        calls.push([jobs.length, task(), Object.keys(jobs[0] ?? {}).length]);
        trace.getTracer("service").startSpan("query").end();
        if (calls.length === 1) throw new Error("once");
      },
      { batchSize: 5 },
    );
    await once(lab, 3);
    expect(calls).toEqual([
      [3, undefined, 9],
      [3, undefined, 9],
    ]);
    const attempts = lab.named(`process ${lab.queue}`);
    expect(attempts.map(({ attributes }) => attributes["task.outcome"])).toEqual([
      ...Array(3).fill("retry"),
      ...Array(3).fill("success"),
    ]);
    expect(new Set(attempts.map(traceOf))).toEqual(new Set(traces));
    const [first] = lab.named(`batch ${lab.queue}`);
    const ids = attempts.slice(0, 3).map((span) => span.spanContext().spanId);
    expect(first?.links.map((link) => link.context.spanId).sort()).toEqual(ids.sort());
    expect([first?.parentSpanContext, traceOf(lab.named("query")[0])]).toEqual([undefined, traceOf(first)]);
  });

  test("ends each job's attempt as perJobResults say", async () => {
    const lab = await openLab(PgBoss);
    await sendEach(lab, 4, { retryLimit: 3, retryDelay: 60 });
    const results = ["completed", "failed", "deadletter"];
    await lab.work(
      async (jobs) => jobs.slice(0, 3).map(({ id }, n) => ({ id, status: results[n], output: new Error(results[n]) })),
      { batchSize: 4, perJobResults: true },
    );
    await lab.reach("retry", 2);
    const ends = lab
      .named(`process ${lab.queue}`)
      .map(({ attributes, events }) => [attributes["task.outcome"], events[0]?.attributes?.["exception.message"]]);
    expect(ends.sort()).toEqual(
      [
        ["success", undefined],
        ["retry", "failed"],
        ["failure", "deadletter"],
        ["retry", "no disposition returned by handler"],
      ].sort(),
    );
  });

  test("lets code enter one job's task", async () => {
    const lab = await openLab(PgBoss);
    await sendEach(lab, 2);
    const seen: unknown[] = [];
    await lab.work(
      async (jobs) => {
        for (const job of jobs) {
          await inTask(job, async () => {
            await null;
            taskLog("handling");
            seen.push(task()?.taskId === job.id);
          });
        }
        seen.push(task(), inTask({}, task));
      },
      { batchSize: 2 },
    );
    await once(lab, 2);
    expect(seen).toEqual([true, true, undefined, undefined]);
    const lines = lab.named(`process ${lab.queue}`).map(({ events }) => events.map(({ name }) => name));
    expect(lines).toEqual([["handling"], ["handling"]]);
  });

  test("shows a handler the metadata that it asks for", async () => {
    const lab = await openLab(PgBoss);
    await sendEach(lab, 2);
    const seen: unknown[] = [];
    const options = { batchSize: 2, includeMetadata: true };
    await lab.work(async (jobs) => void seen.push(...jobs.map((job) => Reflect.get(job, "retryLimit"))), options);
    await once(lab, 2);
    expect(seen).toEqual([1, 1]);
  });

  test("gives each job its own carrier where others have none", async () => {
    const lab = await openLab(PgBoss);
    const bare = await openBare();
    await bare.send(lab.queue, { n: 0 });
    const traces = await sendEach(lab, 2);
    await bare.send(lab.queue, { n: 3 });
    await lab.work(async () => {}, { batchSize: 4 });
    await once(lab, 4);
    const attempts = lab.named(`process ${lab.queue}`);
    expect(
      attempts
        .filter((span) => span.parentSpanContext !== undefined)
        .map(traceOf)
        .sort(),
    ).toEqual(traces.sort());
    expect(attempts).toHaveLength(4);
  });

  test("is nothing of the request's, or the task's, that started the worker", async () => {
    const lab = await openLab(PgBoss);
    await (await openBare()).insert(lab.queue, [{}, {}]);
    const seen: unknown[] = [];
    const start = () => lab.work(async () => void seen.push(task()), { batchSize: 2 });
    const traceId = await lab.inRequest(() => runAttempt({ funcName: "boot" }, start));
    await once(lab, 2);
    expect(seen).toEqual([undefined]);
    const spans = [...lab.named(`process ${lab.queue}`), ...lab.named(`batch ${lab.queue}`)];
    expect(spans.map((span) => [span.parentSpanContext, span.attributes["task.parent.id"]])).toEqual(
      spans.map(() => [undefined, undefined]),
    );
    expect(spans.map(traceOf)).not.toContain(traceId);
  });
}

function carrierCases(): void {
  test("is a service's own where the column has none of this library's", async () => {
    const lab = await openLab(PgBoss);
    const inHeader = await headerOf(lab);
    await (await openBare()).send(lab.queue, { carrier: { traceparent: inHeader } });
    await lab.work(async () => {});
    await once(lab, 1);
    expect(traceOf(lab.span(`process ${lab.queue}`))).toBe(inHeader.split("-")[1]);
  });

  test("is what pg-boss's own propagation has left in the column", async () => {
    const lab = await openLab(PgBoss);
    const bare = await openBare({ openTelemetry: { propagateContext: true } });
    const traceId = await lab.inRequest(() => bare.send(lab.queue, {}));
    await lab.work(async () => {});
    await once(lab, 1);
    expect(traceOf(lab.span(`process ${lab.queue}`))).toBe(traceId);
  });

  test("is in the data where an instance has no column, and a handler does not see it", async () => {
    const lab = await openLab(PgBoss);
    const { boss } = await openBare();
    const seen: unknown[] = [];
    const traceId = await lab.inRequest(() => sendJob(boss, lab.queue, { n: 1 }, { tags: { plan: "pro" } }));
    await lab.work(async ([job]) => void seen.push(job?.data, task()?.tags));
    await once(lab, 1);
    expect(seen).toEqual([{ n: 1 }, { plan: "pro" }]);
    expect(traceOf(lab.span(`process ${lab.queue}`))).toBe(traceId);
  });

  test("of a job that sendJob sent reaches workTask by the column, which counts it once", async () => {
    const lab = await openLab(PgBoss);
    const seen: unknown[] = [];
    const traceId = await lab.inRequest(() => sendJob(lab.boss, lab.queue, [1, 2], { tags: { plan: "pro" } }));
    await workTask(lab.boss, lab.queue, { pollingIntervalSeconds: 0.5 }, (job: TaskJob) => {
      seen.push(job.data, task()?.tags);
    });
    const [job] = await once(lab, 1);
    expect([job?.data, seen]).toEqual([
      [1, 2],
      [[1, 2], { plan: "pro" }],
    ]);
    expect([lab.named(`enqueue ${lab.queue}`).length, traceOf(lab.span(`process ${lab.queue}`))]).toEqual([1, traceId]);
  });

  test("which jobs of one insert share leaves each of them its own tags", async () => {
    const lab = await openLab(PgBoss);
    const seen: unknown[] = [];
    await lab.boss.insert(lab.queue, [{ data: { n: 1 } }, { data: { n: 2 } }]);
    await lab.work(async ([job]) => void seen.push([job?.data, task()?.tags]));
    await once(lab, 2);
    expect(seen).toHaveLength(2);
    expect(seen).toEqual(expect.arrayContaining([1, 2].map((n) => [{ n }, { n: String(n) }])));
  });

  test("can be had of jobs that are fetched by hand, which are nobody's attempts", async () => {
    const lab = await openLab(PgBoss);
    const [traceId] = await sendEach(lab, 1);
    await (await openBare()).send(lab.queue, {});
    const jobs = await lab.boss.fetch(lab.queue, { batchSize: 2 });
    expect(lab.named(`process ${lab.queue}`)).toEqual([]);
    const found = jobs.map(carrierOf).filter((carrier) => carrier !== undefined);
    expect(found).toHaveLength(1);
    await context.with(ROOT_CONTEXT, () => runAttempt({ carrier: found[0] }, () => {}));
    expect(traceOf(lab.span(`process ${lab.queue}`))).toBe(traceId);
    await lab.boss.complete(
      lab.queue,
      jobs.map(({ id }) => id),
    );
    await once(lab, 2);
  });

  test("goes along into a dead letter queue", async () => {
    const lab = await openLab(PgBoss);
    const dead = await lab.addQueue();
    await lab.work(() => Promise.reject(new Error("no")));
    await lab.work(async () => {}, {}, dead);
    const traceId = await lab.inRequest(() => lab.boss.send(lab.queue, {}, { deadLetter: dead }));
    await lab.reach("completed", 1, dead);
    expect(traceOf(lab.span(`process ${dead}`))).toBe(traceId);
  });

  test("is no trace for the run of a schedule, which says that it is one", async () => {
    const lab = await openLab(PgBoss, { schedule: true, cronWorkerIntervalSeconds: 1 });
    await lab.work(async () => {});
    const { schema } = backend.connection;
    // what pg-boss stores when a schedule is due, which would take it a minute
    const text = `insert into ${schema}.job (name, data) values ('__pgboss__send-it', $1)`;
    await lab.boss.getDb().executeSql(text, [JSON.stringify({ name: lab.queue, data: { n: 1 }, options: {} })]);
    const [job] = await once(lab, 1);
    const attempt = lab.span(`process ${lab.queue}`);
    expect([job?.data, attempt.parentSpanContext, attempt.attributes["task.trigger"]]).toEqual([
      { n: 1 },
      undefined,
      "schedule",
    ]);
    expect(lab.named(`enqueue ${lab.queue}`)).toEqual([]);
  });
}

async function sendEach(lab: Lab, count: number, options = { retryLimit: 1, retryDelay: 0 }): Promise<string[]> {
  const traces: string[] = [];
  for (let n = 0; n < count; n += 1) {
    traces.push(await lab.inRequest(() => lab.boss.send(lab.queue, { n }, options)));
  }
  return traces;
}

async function headerOf(lab: Lab): Promise<string> {
  let header = "";
  await lab.inRequest(() => {
    const { traceId = "", spanId = "" } = trace.getActiveSpan()?.spanContext() ?? {};
    header = `00-${traceId}-${spanId}-01`;
  });
  return header;
}
