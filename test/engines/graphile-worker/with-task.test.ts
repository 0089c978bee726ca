import { setImmediate as turn } from "node:timers/promises";
import type { Task } from "graphile-worker";
import { getTaskContext, isTaskConfigError, NonRetryableError, taskLog } from "otel-taskflow";
import { addJob, type GraphileTaskOptions, withTask } from "otel-taskflow/graphile-worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { deferred } from "../../support/tasks.js";
import {
  breakTelemetry,
  collectDiag,
  otherLinks,
  startTelemetry,
  type TestTelemetry,
} from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { queryOnce } from "./database.js";
import { describeRoads, type Road } from "./roads.js";
import { GRAPHILE, VERSIONS, type Version } from "./versions.js";
import { type JobRow, openWorker } from "./worker.js";

const { url: server = "", unavailable } = await postgresUrl();

await describeRoads("withTask", withTaskCases);

if (unavailable !== undefined) describeUnavailable("graphile-worker's withTask", unavailable);
else for (const version of VERSIONS) describe(`withTask by hand alone, ${version}`, () => byHandCases(version));

function withTaskCases({ addJob, withTask, open }: Road, version: Version): void {
  test("a retry is the next attempt, in the same trace, and linked to the one before", async () => {
    const telemetry = startTelemetry();
    const { utils, run, runAgain } = await open();
    await run({
      send: withTask(() => {
        if (getTaskContext()?.attempt === 0) throw new RangeError("not yet");
      }),
    });
    const { id } = await addJob(utils, "send", {}, { maxAttempts: 2 });
    await runAgain(id);
    const [first, second] = await attempts(telemetry, "send", 2);
    expect(first?.attributes).toMatchObject({ "task.outcome": "retry", "task.attempt": 0, "error.type": "RangeError" });
    expect(second?.attributes).toMatchObject({ "task.outcome": "success", "task.attempt": 1, "task.max_attempts": 2 });
    expect(second?.attributes["task.redelivered"]).toBeUndefined();
    expect(second?.spanContext().traceId).toBe(first?.spanContext().traceId);
    expect(second && otherLinks(second).map(({ context }) => context.spanId)).toEqual([first?.spanContext().spanId]);
  });

  test("the wait counts from when graphile-worker had the attempt due, a retry's too", async () => {
    const telemetry = startTelemetry();
    const { utils, run, runAgain } = await open();
    await run({ send: withTask(() => Promise.reject(new Error("no"))) });
    const { id } = await addJob(utils, "send", {}, { runAt: new Date(Date.now() + 200) });
    const [first] = await attempts(telemetry, "send", 1);
    expect(first?.attributes["task.wait.duration"]).toBeLessThan(3);
    await runAgain(id);
    const [, second] = await attempts(telemetry, "send", 2);
    // runAgain has it due in 1970
    expect(second?.attributes["task.wait.duration"]).toBeGreaterThan(1e9);
  });

  test("a NonRetryableError fails the job for good", async () => {
    const telemetry = startTelemetry();
    const { utils, run, jobs } = await open();
    await run({
      send: withTask(() => {
        throw new NonRetryableError("no such mailbox");
      }),
    });
    await addJob(utils, "send", {});
    await vi.waitFor(async () => expect((await jobs())[0]?.attempts).toBe(25), 5_000);
    expect(await jobs()).toMatchObject([{ max_attempts: 25, last_error: "no such mailbox", locked_at: null }]);
    expect(telemetry.span("process send").attributes["task.outcome"]).toBe("failure");
  });

  test("a NonRetryableError fails its job in a schema of another name", async () => {
    const { utils, run, jobs } = await open("other");
    const fail = (): never => {
      throw new NonRetryableError("no use");
    };
    await run({ send: withTask(fail, { schema: "other" }) });
    await addJob(utils, "send", {});
    await vi.waitFor(async () => expect((await jobs()).map(({ attempts }) => attempts)).toEqual([25]), 5_000);
  });

  test("throwing a falsy value fails the job", async () => {
    const telemetry = startTelemetry();
    const { utils, run, ended } = await open();
    const thrown = [undefined, null, 0, "", false, Number.NaN];
    await run({ send: withTask((payload) => Promise.reject(thrown[(payload as { index: number }).index])) });
    for (const [index, value] of thrown.entries()) {
      const { id } = await addJob(utils, "send", { index });
      const text = `the task threw ${value === "" ? '""' : value}`;
      expect(await ended(id)).toMatchObject({ attempts: 1, last_error: text });
    }
    const failed = { "task.outcome": "retry", "error.type": "_OTHER" };
    expect(telemetry.named("process send").map(({ attributes }) => attributes)).toEqual(
      thrown.map(() => expect.objectContaining(failed)),
    );
  });

  test("graphile-worker gets the very error that was thrown", async () => {
    const { utils, run, events } = await open();
    const told = deferred<unknown>();
    events.on("job:error", ({ error }) => told.resolve(error));
    const error = Object.freeze(new RangeError("no"));
    await run({ send: withTask(() => Promise.reject(error)) });
    await addJob(utils, "send", {});
    expect(await told.promise).toBe(error);
  });

  test("a stopping worker aborts the task's signal, and the job may still succeed", async () => {
    const telemetry = startTelemetry();
    const { utils, run, jobs } = await open();
    const started = deferred();
    const reason = deferred<unknown>();
    const send = withTask(async () => {
      const signal = getTaskContext()?.signal;
      signal?.addEventListener("abort", () => reason.resolve(signal.reason));
      started.resolve();
      await reason.promise;
    });
    // without a batch, 0.18 closes its pool before it has put the job down
    const preset = { worker: { completeJobBatchDelay: 0 } };
    const stop = await run({ send }, { gracefulShutdownAbortTimeout: 50, preset });
    await addJob(utils, "send", {});
    await started.promise;
    await stop();
    expect(await reason.promise).toMatchObject({ code: "TASK_CANCELLED" });
    expect([telemetry.span("process send").attributes["task.outcome"], await jobs()]).toEqual(["success", []]);
  });

  test("many jobs at once cause no warning of a leak", async () => {
    const warned = vi.fn();
    process.on("warning", warned);
    onTestFinished(() => void process.off("warning", warned));
    const { utils, run } = await open();
    const [all, gate] = [deferred(), deferred()];
    let running = 0;
    const send = withTask(async () => {
      running += 1;
      if (running === 15) all.resolve();
      await gate.promise;
    });
    await run({ send }, { concurrency: 15, maxPoolSize: 5 });
    await Promise.all(Array.from({ length: 15 }, () => addJob(utils, "send", {})));
    await all.promise;
    gate.resolve();
    expect(warned.mock.calls).toEqual([]);
  });

  test("a job that was added without tags has a context: its id, its name, its attempt", async () => {
    const telemetry = startTelemetry();
    const { elsewhere, run, runAgain } = await open();
    const seen: unknown[] = [];
    const send = withTask(() => {
      const { taskId, funcName, attempt, maxAttempts, tags } = getTaskContext() ?? {};
      seen.push([taskId, funcName, attempt, maxAttempts, { ...tags }]);
      throw new Error("no");
    });
    await run({ send });
    const { id } = await elsewhere.addJob("send", {}, { maxAttempts: 2, flags: ["slow"] });
    await runAgain(id);
    const spans = await attempts(telemetry, "send", 2);
    expect(seen).toEqual([0, 1].map((attempt) => [id, "send", attempt, 2, {}]));
    expect(spans.map(({ attributes }) => attributes["task.outcome"])).toEqual(["retry", "failure"]);
    expect(spans.map(({ parentSpanContext }) => parentSpanContext)).toEqual([undefined, undefined]);
  });

  test("a flag of ours that is damaged, or claims to be another task, says nothing and stops no job", async () => {
    startTelemetry();
    const told = collectDiag();
    const { elsewhere, run, ended } = await open();
    const seen: unknown[] = [];
    const look = (): void => {
      const { taskId, funcName, attempt, maxAttempts, tags } = getTaskContext() ?? {};
      seen.push([taskId, funcName, attempt, maxAttempts, { ...tags }]);
    };
    await run({ send: withTask(look) });
    const claim = { "otel-taskflow": JSON.stringify({ v: 1, id: "x", name: "y", max: 9, rel: "parent" }) };
    const damaged = ["{", "7", '{"baggage":"task.tag.plan=enterprise"}', JSON.stringify(claim)];
    for (const text of damaged) {
      const { id } = await elsewhere.addJob("send", {}, { maxAttempts: 2, flags: [`otel-taskflow:${text}`] });
      await ended(id);
      expect(seen.at(-1)).toEqual([id, "send", 0, 2, {}]);
    }
    expect(told.filter((line) => line.includes("holds no carrier"))).toHaveLength(2);
  });

  test("a job of a crontab is a trace of its own, with what graphile-worker says of it in the payload", async () => {
    const telemetry = startTelemetry();
    const { run, url } = await open();
    const payload = deferred<unknown>();
    const { parseCronItems } = GRAPHILE[version];
    const options = { backfillPeriod: 300_000 };
    const item = { task: "tick", match: "* * * * *", identifier: "tick", payload: { a: 1 }, options };
    const known = "insert into graphile_worker._private_known_crontabs (identifier, known_since)";
    await queryOnce(url, `${known} values ('tick', now() - interval '90 seconds')`);
    await run({ tick: withTask((given) => payload.resolve(given)) }, { parsedCronItems: parseCronItems([item]) });
    expect(await payload.promise).toMatchObject({ a: 1, _cron: { backfilled: true } });
    await vi.waitFor(() => expect(telemetry.named("process tick")).not.toEqual([]), 5_000);
    const [span] = telemetry.named("process tick");
    expect([span?.parentSpanContext, span?.links]).toEqual([undefined, []]);
  });

  test("a batch job fails in part: only that part is retried", async () => {
    const telemetry = startTelemetry();
    const { utils, run, ended, runAgain } = await open();
    const seen: unknown[] = [];
    const send = withTask((payload) => {
      seen.push(payload);
      const first = getTaskContext()?.attempt === 0;
      return (payload as number[]).map((n) => (first && n > 1 ? Promise.reject(new Error(`no ${n}`)) : n));
    });
    await run({ send });
    const { id } = await addJob(utils, "send", [1, 2, 3]);
    expect((await ended(id))?.last_error).toContain("no 2");
    await runAgain(id);
    const [first, second] = await attempts(telemetry, "send", 2);
    expect(seen).toEqual([
      [1, 2, 3],
      [2, 3],
    ]);
    expect(first?.attributes["task.outcome"]).toBe("retry");
    expect(first?.status.message).toBe("2 of 3 entries of the batch failed");
    expect(second?.attributes["task.outcome"]).toBe("success");
  });

  test("an attempt whose worker died runs again as the next one, redelivered", async () => {
    const telemetry = startTelemetry();
    const { utils, run, jobs } = await open();
    const [started, gate] = [deferred(), deferred()];
    const send = withTask(() => {
      if (getTaskContext()?.attempt !== 0) return;
      started.resolve();
      return gate.promise;
    });
    await run({ send });
    await addJob(utils, "send", {});
    await started.promise;
    await utils.forceUnlockWorkers((await jobs()).map(({ locked_by }) => String(locked_by)));
    const [second] = await attempts(telemetry, "send", 1);
    expect(second?.attributes).toMatchObject({ "task.attempt": 1, "task.redelivered": true });
    gate.resolve();
  });

  test("needs no SDK", async () => {
    const { utils, run, ended } = await open();
    const seen: unknown[] = [];
    const look = (): void => void seen.push({ ...getTaskContext()?.tags });
    await run({ send: withTask(() => Promise.resolve().then(look)) });
    const { id } = await addJob(utils, "send", {}, { tags: { plan: "pro" } });
    await ended(id);
    expect(seen).toEqual([{ plan: "pro" }]);
  });

  test("the tasks of jobs that run at once are apart, in every helper", async () => {
    startTelemetry();
    const { utils, run, jobs } = await open();
    const odd: unknown[] = [];
    let ran = 0;
    const helper = async (payload: unknown, id: string): Promise<void> => {
      await Promise.all([turn(), utils.withPgClient((client) => client.query("select 1"))]);
      const { taskId, tags } = getTaskContext() ?? {};
      if (taskId !== id || tags?.n !== String((payload as { n: number }).n)) odd.push([id, taskId, tags]);
      ran += 1;
    };
    await run({ send: withTask(async (payload, { job }) => await helper(payload, job.id)) }, { concurrency: 10 });
    await Promise.all(Array.from({ length: 30 }, (_, n) => addJob(utils, "send", { n }, { tags: { n } })));
    await vi.waitFor(async () => expect([ran, await jobs()]).toEqual([30, []]), 10_000);
    expect(odd).toEqual([]);
  });

  test("jobs are added, run and retried as ever where an SDK throws whatever it is asked", async () => {
    breakTelemetry();
    collectDiag();
    const { utils, run, runAgain, ended } = await open();
    const seen: unknown[] = [];
    const send = withTask(() => {
      seen.push([getTaskContext()?.attempt, { ...getTaskContext()?.tags }]);
      taskLog("running");
      if (seen.length === 1) throw new Error("no");
    });
    await run({ send });
    const { id } = await addJob(utils, "send", {}, { tags: { plan: "pro" } });
    expect((await ended(id))?.last_error).toBe("no");
    await runAgain(id);
    await vi.waitFor(() => expect(seen).toEqual([0, 1].map((attempt) => [attempt, { plan: "pro" }])), 5_000);
  });
}

function byHandCases(version: Version): void {
  test("graphile-worker cannot run the job of a NonRetryableError again, from before it lets go of it", async () => {
    const { utils, run, jobs, ended } = await openWorker(version, server);
    const held: JobRow[] = [];
    const giveUp = withTask(() => Promise.reject(new NonRetryableError("no such mailbox")));
    const send: Task = async (payload, helpers) => {
      await giveUp(payload, helpers).catch(async (error) => {
        held.push(...(await jobs()));
        throw error;
      });
    };
    await run({ send });
    const { id } = await addJob(utils, "send", {}, { jobKey: "ada" });
    await ended(id);
    const spent = { attempts: 25, max_attempts: 25, key: "ada" };
    expect(held).toMatchObject([{ ...spent, locked_at: expect.any(Date) }]);
    expect(await jobs()).toMatchObject([{ ...spent, locked_at: null, last_error: "no such mailbox" }]);
  });

  test("a NonRetryableError fails its job in a schema of another name, and no job of that number elsewhere", async () => {
    const { utils, run, jobs, url } = await openWorker(version, server, "other");
    const elsewhere = await GRAPHILE[version].makeWorkerUtils({ connectionString: url, schema: "graphile_worker" });
    onTestFinished(() => elsewhere.release());
    const fail = (): never => {
      throw new NonRetryableError("no use");
    };
    await run({ right: withTask(fail, { schema: "other" }), wrong: withTask(fail, { schema: "graphile_worker" }) });
    for (const name of ["right", "wrong"]) {
      const { id } = await elsewhere.addJob(name, {}, { runAt: new Date(4e12) });
      expect((await addJob(utils, name, {})).id).toBe(id);
    }
    await vi.waitFor(async () => expect((await jobs()).map(({ attempts }) => attempts)).toEqual([25, 1]), 5_000);
    const sql = "select attempts from graphile_worker.jobs";
    const { rows } = await elsewhere.withPgClient((client) => client.query<{ attempts: number }>(sql));
    expect(rows).toEqual([{ attempts: 0 }, { attempts: 0 }]);
  });
}

test.each<[string, unknown, unknown]>([
  ["its first argument", "send", {}],
  ["its options", () => {}, null],
  ["schema", () => {}, { schema: 7 }],
  ["logs", () => {}, { logs: "no" }],
])("withTask refuses a wrong %s at once", (what, task, options) => {
  const wrap = (): unknown => withTask(task as () => void, options as GraphileTaskOptions);
  expect(wrap).toThrow(expect.toSatisfy((error) => isTaskConfigError(error) && error.message.includes(what)));
});

/** The attempts of a task, as soon as there are so many. */
async function attempts(telemetry: TestTelemetry, name: string, count: number) {
  await vi.waitFor(() => expect(telemetry.named(`process ${name}`)).toHaveLength(count), 10_000);
  return telemetry.named(`process ${name}`);
}
