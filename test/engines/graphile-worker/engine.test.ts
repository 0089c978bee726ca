import { AsyncLocalStorage } from "node:async_hooks";
import { getTaskContext, isTaskConfigError } from "otel-taskflow";
import { type GraphileEngineOptions, graphileEngine } from "otel-taskflow/graphile-worker";
import pg from "pg";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { queryOnce } from "./database.js";
import { losing } from "./lost-answers.js";
import { DISCONNECT_ALL, type JobRow, openRig, POLL_MS, type Rig, UNLOCK_ALL } from "./rig.js";
import { GRAPHILE, VERSIONS, type Version } from "./versions.js";

/** The first job of the task "short" is not completed, which takes a while. */
const LOSE_ONE_COMPLETION = `
  create sequence completions;
  create function lose() returns trigger language plpgsql as $$ begin
    if old.task_id = (select id from graphile_worker._private_tasks where identifier = 'short')
      and nextval('completions') = 1 then perform pg_sleep(1.5); raise exception 'connection lost'; end if;
    return old;
  end $$;
  create trigger lose before delete on graphile_worker._private_jobs for each row execute function lose();`;

const { url: server = "", unavailable } = await postgresUrl();

if (unavailable !== undefined) describeUnavailable("graphileEngine", unavailable);
else for (const version of VERSIONS) describe(`graphileEngine with ${version}`, () => engineCases(version));

function engineCases(version: Version): void {
  const { run, makeWorkerUtils } = GRAPHILE[version];
  let rig: Rig;
  let url: string;
  beforeEach(async () => {
    rig = await openRig(version, server);
    ({ url } = rig);
  });
  const open: Rig["open"] = (engine) => rig.open(engine);
  const openPool: Rig["openPool"] = (max) => rig.openPool(max);
  const jobs = (): Promise<JobRow[]> => rig.jobs();

  test("a task that gave up is failed for good, and last_error says why, whatever was thrown", async () => {
    const tasks = open();
    const thrown: [unknown, string][] = [
      [new RangeError("out of range"), "out of range"],
      [new RangeError(), "RangeError"],
      [undefined, "the task threw undefined"],
      ["", 'the task threw ""'],
      [{ code: 7 }, "the task threw [object Object]"],
      [new Error("a\0b \ud800 c"), "a\ufffdb \ufffd c"],
      [new Error("x".repeat(10_000)), "x".repeat(2_000)],
    ];
    const task = tasks.task("fails", (index: number) => Promise.reject(thrown[index]?.[0]));
    for (const index of thrown.keys()) await tasks.addTask(task, [index]);
    await tasks.work();
    await tasks.idle();
    const rows = await jobs();
    expect(rows.map(({ attempts, max_attempts: max }) => attempts === max)).toEqual(thrown.map(() => true));
    expect(rows.map((row) => row.last_error).toSorted()).toEqual(thrown.map(([, text]) => text).toSorted());
  });

  test("the retry of another producer's job takes the place of no task that is called by its number", async () => {
    const tasks = open();
    const ran: unknown[] = [];
    const task = tasks.task({ name: "task", retries: 1, delay: 50 }, (whose: string) => {
      const { taskId, attempt } = getTaskContext() ?? {};
      ran.push([whose, taskId, attempt]);
      if (whose === "theirs") throw new Error("no");
    });
    const utils = await makeWorkerUtils({ connectionString: url });
    await utils.migrate();
    const { id } = await utils.addJob("task", { args: ["theirs"] });
    await utils.release();
    await tasks.addTask(task, ["ours"], { taskId: String(id), delay: 3_000 });
    await tasks.work();
    await tasks.idle();
    const theirs = [0, 1].map((attempt) => ["theirs", String(id), attempt]);
    expect(ran).toEqual([...theirs, ["ours", String(id), 0]]);
  });

  test.each([
    ["alone", "select"],
    ["with all connections", DISCONNECT_ALL],
  ])("a retry that was stored, though the answer was lost %s, leaves nothing behind", async (_, text) => {
    collectDiag();
    const lost = { of: /with spent/, meanwhile: () => queryOnce(url, text) };
    // a pool of graphile-worker's own, which it gives up while its connections break, ends the process
    const pgPool = openPool(5);
    const tasks = open({ makeWorkerUtils: losing(makeWorkerUtils, lost), pgPool });
    const seen: unknown[] = [];
    const flaky = tasks.task({ name: "flaky", retries: 1 }, () => {
      seen.push(getTaskContext()?.attempt);
      if (seen.length === 1) throw new Error("not yet");
    });
    await tasks.addTask(flaky);
    await tasks.work();
    await vi.waitFor(async () => expect([seen, await jobs()]).toEqual([[0, 1], []]), {
      timeout: 15_000,
      interval: 100,
    });
  });

  test("a task that has succeeded runs no more, though two runners in a row are in trouble", async () => {
    const told = collectDiag();
    const tasks = open({ concurrency: 2 });
    const [started, gate] = [deferred(), deferred()];
    const long = tasks.task("long", () => {
      started.resolve();
      return gate.promise;
    });
    const run = vi.fn();
    const short = tasks.task("short", run);
    await tasks.addTask(long);
    await tasks.work();
    await started.promise;
    await queryOnce(url, "alter table graphile_worker._private_jobs rename to away");
    await vi.waitFor(() => expect(told.join("\n")).toContain("is in trouble"), 5_000);
    await queryOnce(url, "alter table graphile_worker.away rename to _private_jobs");
    await queryOnce(url, LOSE_ONE_COMPLETION);
    await tasks.addTask(short);
    await vi.waitFor(() => expect(run).toHaveBeenCalled(), 5_000);
    // the first runner ends, and frees what it held, before the second one has failed to complete the other task
    gate.resolve();
    await tasks.idle();
    expect([run.mock.calls.length, await jobs()]).toEqual([1, []]);
  });

  test("a task that is cancelled while it runs is failed for good", async () => {
    const tasks = open();
    const started = deferred();
    const task = tasks.task({ name: "hangs", retries: 3 }, () => {
      started.resolve();
      return new Promise(() => {});
    });
    const id = await tasks.addTask(task);
    await tasks.work();
    await started.promise;
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.idle();
    expect(await jobs()).toMatchObject([
      { attempts: 32_767, max_attempts: 32_767, last_error: "the task was cancelled" },
    ]);
  });

  test("cancelled at the very moment it is fetched, a task is cancelled all the same", async () => {
    const tasks = open();
    const completed = vi.fn();
    const task = tasks.task("slow", async (n: number) => {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      if (getTaskContext()?.signal.aborted !== true) completed(n);
    });
    await tasks.work();
    const cancelled: boolean[] = [];
    for (let n = 0; n < 25; n += 1) cancelled.push(await tasks.cancel(await tasks.addTask(task, [n])));
    await tasks.idle();
    expect([cancelled.includes(false), completed.mock.calls]).toEqual([false, []]);
  });

  test("the id of a task that graphile-worker itself has given up can be used again", async () => {
    const tasks = open();
    const run = vi.fn();
    const task = tasks.task("task", run);
    await tasks.addTask(task, [1], { taskId: "order-7" });
    // as it is after so many crashes
    await queryOnce(url, "update graphile_worker._private_jobs set attempts = max_attempts");
    await tasks.addTask(task, [2], { taskId: "order-7" });
    await tasks.work();
    await tasks.idle();
    expect(run.mock.calls).toEqual([[2]]);
  });

  test("a task whose lock is taken away while it runs is not lost", async () => {
    collectDiag();
    const tasks = open({ concurrency: 1 });
    const [started, gate] = [deferred(), deferred()];
    const seen: unknown[] = [];
    const task = tasks.task({ name: "task", retries: 1 }, async () => {
      seen.push(getTaskContext()?.attempt);
      started.resolve();
      await gate.promise;
      if (seen.length === 1) throw new Error("not yet");
    });
    await tasks.addTask(task);
    await tasks.work();
    await started.promise;
    await queryOnce(url, UNLOCK_ALL);
    gate.resolve();
    await tasks.idle();
    expect([seen, await jobs()]).toEqual([[0, 1], []]);
  });

  test("installs no signal handlers, and prints nothing", async () => {
    const printed = (["log", "info", "warn", "error", "debug"] as const).map((level) => vi.spyOn(console, level));
    const handlers = (): number[] => ["SIGTERM", "SIGINT", "SIGHUP"].map((signal) => process.listenerCount(signal));
    const before = handlers();
    const tasks = open();
    const task = tasks.task("fails", () => Promise.reject(new Error("no")));
    await tasks.addTask(task);
    await tasks.work();
    expect(handlers()).toEqual(before);
    await tasks.idle();
    await tasks.shutdown();
    expect(printed.flatMap(({ mock }) => mock.calls)).toEqual([]);
  });

  test("works over a pool of the application's, and leaves it open", async () => {
    const warned = vi.spyOn(console, "warn");
    const pgPool = new pg.Pool({ connectionString: url, max: 3 });
    const tasks = open({ pgPool });
    const ran = vi.fn();
    const task = tasks.task({ name: "flaky", retries: 1 }, () => {
      ran(getTaskContext()?.attempt);
      if (getTaskContext()?.attempt === 0) throw new Error("not yet");
    });
    await tasks.addTask(task);
    await tasks.work();
    await tasks.idle();
    await tasks.shutdown();
    expect([ran.mock.calls, warned.mock.calls]).toEqual([[[0], [1]], []]);
    expect((await pgPool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    expect(["error", "connect", "acquire"].map((event) => pgPool.listenerCount(event))).toEqual([0, 0, 0]);
    await pgPool.end();
  });

  test("many managers on one pool listen once, and leave nothing behind", async () => {
    const pgPool = openPool(3);
    const count = (): number[] => ["error", "connect", "acquire"].map((event) => pgPool.listenerCount(event));
    const managers = Array.from({ length: 11 }, () => open({ pgPool }));
    expect(count()).toEqual([1, 1, 1]);
    await managers[0]?.shutdown();
    expect(count()).toEqual([1, 1, 1]);
    for (const tasks of managers) await tasks.shutdown();
    expect(count()).toEqual([0, 0, 0]);
  });

  test("idle() inside a task does not wait for that task, but for the others", async () => {
    const tasks = open();
    const seen: string[] = [];
    const other = tasks.task("other", () => void seen.push("other"));
    const waits = tasks.task("waits", async () => {
      await tasks.addTask(other, [], { delay: 100 });
      await tasks.idle();
      seen.push("idle");
    });
    await tasks.addTask(waits);
    await tasks.work();
    await tasks.idle();
    expect(seen).toEqual(["other", "idle"]);
  });

  test("a job that replaces a running one under its key outlives that one's failure", async () => {
    const tasks = open();
    const [started, gate] = [deferred(), deferred()];
    const seen: unknown[] = [];
    tasks.task("sync", async (payload: { n: number }) => {
      seen.push(payload.n);
      if (payload.n !== 1) return;
      started.resolve();
      await gate.promise;
      throw new Error("no");
    });
    const utils = await makeWorkerUtils({ connectionString: url });
    onTestFinished(() => utils.release());
    await utils.migrate();
    await utils.addJob("sync", { n: 1 }, { jobKey: "user-7" });
    await tasks.work();
    await started.promise;
    await utils.addJob("sync", { n: 2 }, { jobKey: "user-7", runAt: new Date(Date.now() + 300) });
    gate.resolve();
    await tasks.idle();
    expect(seen).toEqual([1, 2]);
  });

  test("a job sees nothing of whoever opened the connection that told of it", async () => {
    const user = new AsyncLocalStorage<string>();
    const pgPool = openPool(3);
    await user.run("opener", () => Promise.all([1, 2, 3].map(() => pgPool.query("select pg_sleep(0.05)"))));
    const tasks = open({ pgPool, pollInterval: 60_000, concurrency: 1 });
    const seen: unknown[] = [];
    const task = tasks.task("look", () => void seen.push(user.getStore()));
    await tasks.work();
    for (const _ of [1, 2, 3]) {
      await tasks.addTask(task);
      // idle again, the worker looks for the next one when it is told of it, or a minute later
      await tasks.idle();
    }
    expect(seen).toEqual([undefined, undefined, undefined]);
  });

  test("looking for work makes no spans, and storing an attempt's end is part of the task's trace", async () => {
    const telemetry = startTelemetry();
    const pgPool = openPool(3);
    const tracer = telemetry.provider.getTracer("pg");
    const connect = pgPool.connect.bind(pgPool);
    // as an instrumentation of pg does
    vi.spyOn(pgPool, "connect").mockImplementation((...args: unknown[]) => {
      tracer.startSpan("connect").end();
      return Reflect.apply(connect, pgPool, args);
    });
    const tasks = open({ pgPool });
    await tasks.addTask(tasks.task("task", () => Promise.reject(new Error("no"))));
    await tasks.work();
    await tasks.idle();
    const traces = telemetry.named("connect").map((span) => span.spanContext().traceId);
    expect(new Set(traces)).toEqual(new Set([telemetry.span("process task").spanContext().traceId]));
  });

  test("goes on when all its connections are cut, and runs every task", async () => {
    collectDiag();
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    onTestFinished(() => void process.off("unhandledRejection", unhandled));
    const pgPool = openPool(10);
    const tasks = open({ concurrency: 4, pgPool });
    const ran = new Set<number>();
    const task = tasks.task({ name: "task", retries: 1 }, async (n: number) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      ran.add(n);
      if (n % 3 === 0 && getTaskContext()?.attempt === 0) throw new Error("once more");
    });
    for (let n = 0; n < 60; n += 1) await tasks.addTask(task, [n]);
    await tasks.work();
    for (const size of [8, 30]) {
      await vi.waitUntil(() => ran.size >= size, 10_000);
      await queryOnce(url, DISCONNECT_ALL);
    }
    await tasks.idle();
    expect([ran.size, await jobs(), unhandled.mock.calls]).toEqual([60, [], []]);
  });

  test("names of 512 characters, and those of Object's own, name tasks like any other", async () => {
    const tasks = open();
    const names = ["n".repeat(512), `${"n".repeat(511)}m`, "😀".repeat(256), "__proto__", "constructor"];
    const seen: unknown[] = [];
    for (const name of names) {
      await tasks.addTask(tasks.task(name, () => void seen.push(getTaskContext()?.funcName)));
    }
    await tasks.work();
    await tasks.idle();
    expect(seen.toSorted()).toEqual(names.toSorted());
  });

  test("a task that is due in a hundred thousand years is stored, and cancelled", async () => {
    const tasks = open();
    const id = await tasks.addTask(
      tasks.task("later", () => {}),
      [],
      { delay: 1e5 * 365 * 86_400_000 },
    );
    const [job] = await jobs();
    expect(job?.run_at.getUTCFullYear()).toBe(9999);
    expect(await tasks.cancel(id)).toBe(true);
  });

  test("tasks registered after work() run when work() is called again", async () => {
    const tasks = open();
    const ran = deferred();
    await tasks.addTask(tasks.task("early", () => {}));
    await tasks.work();
    await tasks.idle();
    await tasks.addTask(tasks.task("late", () => ran.resolve()));
    await tasks.work();
    await ran.promise;
  });

  test("several processes may make the schema at once", async () => {
    const processes = Array.from({ length: 5 }, () => open({ concurrency: 1 }));
    const adding = processes.map((tasks) => tasks.addTask(tasks.task("task", () => {})));
    await Promise.all(adding);
    expect(await jobs()).toHaveLength(5);
  });

  test("work() and addTask() say that there is no server, and work once there is one", async () => {
    let port = 1;
    const reachable = (options: object) => ({
      ...options,
      connectionString: port === 1 ? "postgres://x@127.0.0.1:1/x" : url,
    });
    const engine = graphileEngine({
      run: (options) => run(reachable(options)),
      makeWorkerUtils: (options) => makeWorkerUtils(reachable(options)),
      ...{ connectionString: url, pollInterval: POLL_MS },
    });
    const tasks = createTasks({ engine });
    const ran = deferred();
    const task = tasks.task("task", () => ran.resolve());
    const refused = { code: "TASK_STORE", stored: false, cause: { code: "ECONNREFUSED" } };
    await expect(tasks.addTask(task)).rejects.toMatchObject(refused);
    await expect(tasks.work()).rejects.toMatchObject(refused);
    port = 5432;
    await tasks.work();
    await tasks.addTask(task);
    await ran.promise;
  });
}

test.each<[string, Record<string, unknown>]>([
  ["run", { run: undefined }],
  ["makeWorkerUtils", { makeWorkerUtils: 7 }],
  ["connectionString, pgPool", { connectionString: undefined }],
  ["connectionString, pgPool", { pgPool: {} }],
  ["connectionString", { connectionString: 7 }],
  ["pgPool.connect", { connectionString: undefined, pgPool: {} }],
  ["schema", { schema: "" }],
  ["concurrency", { concurrency: 0 }],
  ["pollInterval", { pollInterval: 0 }],
  ["onlyWorker", { onlyWorker: "yes" }],
  ["workerOptions", { workerOptions: null }],
])("refuses a wrong %s, and shows no password", (option, wrong) => {
  const right = { run: () => {}, makeWorkerUtils: () => {}, connectionString: "postgres://a:secret@h/d" };
  const make = (): unknown => graphileEngine({ ...right, ...wrong } as unknown as GraphileEngineOptions);
  const says = (error: unknown): boolean => isTaskConfigError(error) && error.message.startsWith(`${option}: expected`);
  expect(make).toThrow(expect.toSatisfy(says));
  expect(make).not.toThrow(/secret/);
});
