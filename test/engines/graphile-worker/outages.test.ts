import { createServer, type Socket } from "node:net";
import { getTaskContext } from "otel-taskflow";
import { graphileEngine } from "otel-taskflow/graphile-worker";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { createTasks, deferred } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { queryOnce } from "./database.js";
import { losing } from "./lost-answers.js";
import { DISCONNECT_ALL, openRig, type Rig } from "./rig.js";
import { VERSIONS, type Version } from "./versions.js";

const SHORTLY = { timeout: 9_000, interval: 50 };
/** The first job of the task "short" is not completed. */
const LOSE_ONE_COMPLETION = `
  create sequence completions;
  create function lose() returns trigger language plpgsql as $$ begin
    if old.task_id = (select id from graphile_worker._private_tasks where identifier = 'short')
      and nextval('completions') = 1 then raise exception 'connection lost'; end if;
    return old;
  end $$;
  create trigger lose before delete on graphile_worker._private_jobs for each row execute function lose();`;

/** The first job that is to be freed is not. */
const LOSE_ONE_FREEING = `
  create sequence freeings;
  create function lose() returns trigger language plpgsql as $$ begin
    if nextval('freeings') = 1 then raise exception 'connection lost'; end if;
    return new;
  end $$;
  create trigger lose before update on graphile_worker._private_jobs
    for each row when (old.locked_at is not null and new.locked_at is null) execute function lose();`;
const FAIL_FETCHES = `
  create function fail() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
  create trigger fail before update on graphile_worker._private_jobs
    for each row when (old.locked_at is null and new.locked_at is not null) execute function fail();`;

const { url: server = "", unavailable } = await postgresUrl();

if (unavailable !== undefined) describeUnavailable("graphileEngine without its server", unavailable);
else for (const version of VERSIONS) describe(`graphileEngine with ${version}`, () => outageCases(version));

function outageCases(version: Version): void {
  let rig: Rig;
  let told: string[];
  const unhandled = vi.fn();
  beforeEach(async () => {
    told = collectDiag();
    unhandled.mockClear();
    process.on("unhandledRejection", unhandled);
    onTestFinished(() => void process.off("unhandledRejection", unhandled));
    rig = await openRig(version, server);
  });

  test("on a server that may only be read from, it starts again a few times, and works soon after", async () => {
    const run = vi.fn((options: object) => rig.run(options));
    const tasks = rig.open({ run, pgPool: rig.openPool(6), concurrency: 3 });
    const seen: unknown[] = [];
    const task = tasks.task("task", (n: number) => void seen.push(n));
    await tasks.work();
    await tasks.addTask(task, [1]);
    await vi.waitUntil(() => seen.length === 1, SHORTLY);
    const name = new URL(rig.url).pathname.slice(1);
    await queryOnce(server, `alter database ${name} set default_transaction_read_only = on`);
    await rig.sql(DISCONNECT_ALL);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await expect(tasks.addTask(task, [3])).rejects.toMatchObject({ code: "TASK_STORE", cause: { code: "25006" } });
    const starts = run.mock.calls.length;
    await queryOnce(server, `alter database ${name} reset default_transaction_read_only`);
    await rig.sql(DISCONNECT_ALL);
    await vi.waitFor(() => tasks.addTask(task, [2]), SHORTLY);
    await vi.waitUntil(() => seen.length === 2, SHORTLY);
    // the second is held until locks can be freed again
    expect(starts).toBeLessThan(4);
    expect([seen, unhandled.mock.calls]).toEqual([[1, 2], []]);
  });

  test("a connection of a pool that graphile-worker gives back twice is given back once", async () => {
    const pgPool = rig.openPool(6);
    const run = vi.fn((options: object) => rig.run(options));
    const tasks = rig.open({ run, pgPool });
    tasks.task("task", () => {});
    await tasks.work();
    const [[given] = []] = run.mock.calls;
    const { pgPool: lent } = given as { pgPool: typeof pgPool };
    const lend = (): Promise<unknown> =>
      new Promise((resolve, reject) => {
        lent.connect((_error, _client, release) => {
          try {
            release();
            resolve(release());
          } catch (error) {
            reject(error);
          }
        });
      });
    await expect(lend()).resolves.toBeUndefined();
    expect(lent.totalCount).toBe(pgPool.totalCount);
  });

  test("where every fetch fails, it starts again with longer and longer pauses, and works soon after", async () => {
    const run = vi.fn((options: object) => rig.run(options));
    const tasks = rig.open({ run, concurrency: 1 });
    const ran = deferred();
    await tasks.addTask(tasks.task("task", () => ran.resolve()));
    await rig.sql(FAIL_FETCHES);
    await tasks.work();
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(run.mock.calls.length).toBeLessThan(9);
    await rig.sql("drop function fail cascade");
    await ran.promise;
  });

  test.each([
    ["dropped", ""],
    ["emptied", "create schema graphile_worker"],
  ])("a schema that was %s is made again, by who adds a task and by who works", async (_, then) => {
    const tasks = rig.open({ pgPool: rig.openPool(6), concurrency: 2 });
    const seen: unknown[] = [];
    const task = tasks.task("task", (n: number) => void seen.push(n));
    await tasks.work();
    await tasks.addTask(task, [1]);
    await vi.waitUntil(() => seen.length === 1, SHORTLY);
    await rig.sql(`drop schema graphile_worker cascade; ${then}`);
    await tasks.addTask(task, [2]);
    await vi.waitUntil(() => seen.length === 2, SHORTLY);
    await tasks.idle();
    expect([seen, await rig.jobs()]).toEqual([[1, 2], []]);
  });

  test("a schema that was dropped is made again by who cancels a task", async () => {
    const tasks = rig.open();
    const id = await tasks.addTask(tasks.task("task", () => {}));
    await rig.sql("drop schema graphile_worker cascade");
    expect([await tasks.cancel(id), await rig.jobs()]).toEqual([false, []]);
  });

  test("a database that was dropped and made again is worked with again", async () => {
    const tasks = rig.open({ pgPool: rig.openPool(6), concurrency: 2 });
    const seen: unknown[] = [];
    const task = tasks.task("task", (n: number) => void seen.push(n));
    await tasks.work();
    await tasks.addTask(task, [1]);
    await vi.waitUntil(() => seen.length === 1, SHORTLY);
    const name = new URL(rig.url).pathname.slice(1);
    await queryOnce(server, `drop database ${name} with (force)`);
    await expect(tasks.addTask(task, [2])).rejects.toMatchObject({ code: "TASK_STORE" });
    await queryOnce(server, `create database ${name}`);
    await vi.waitFor(() => tasks.addTask(task, [3]), SHORTLY);
    await vi.waitUntil(() => seen.length === 2, SHORTLY);
    expect([seen, unhandled.mock.calls]).toEqual([[1, 3], []]);
  });

  test("a task that has ended is put down, however long another one runs that its runner had", async () => {
    const tasks = rig.open({ concurrency: 2 });
    const [started, gate] = [deferred(), deferred()];
    const long = tasks.task("long", () => {
      started.resolve();
      return gate.promise;
    });
    const runs = vi.fn();
    const short = tasks.task("short", runs);
    await tasks.addTask(long);
    await tasks.work();
    await started.promise;
    await rig.sql(LOSE_ONE_COMPLETION);
    await tasks.addTask(short);
    await vi.waitFor(async () => expect(await rig.jobs()).toMatchObject([{ task_identifier: "long" }]), SHORTLY);
    await rig.sql("select pg_sleep(0.5)");
    expect(await rig.jobs()).toMatchObject([{ task_identifier: "long", attempts: 1, locked_by: expect.any(String) }]);
    gate.resolve();
    await tasks.idle();
    expect([runs.mock.calls.length, await rig.jobs()]).toEqual([1, []]);
  });

  test("a task that gave up is kept with its reason, though graphile-worker could not fail its job", async () => {
    const tasks = rig.open({ concurrency: 1 });
    const task = tasks.task("task", () => Promise.reject(new Error("no such user")));
    await tasks.addTask(task);
    await rig.sql(LOSE_ONE_FREEING);
    await tasks.work();
    const failed = { last_error: "no such user", locked_by: null, key: null };
    await vi.waitFor(async () => expect(await rig.jobs()).toMatchObject([failed]), SHORTLY);
  });

  test("a task whose fetch was cut off runs as soon as its runner is replaced and has ended", async () => {
    const tasks = rig.open({ concurrency: 2 });
    const [started, gate] = [deferred(), deferred()];
    const long = tasks.task("long", () => {
      started.resolve();
      return gate.promise;
    });
    const runs = vi.fn();
    const cut = tasks.task("cut", runs);
    await tasks.addTask(long);
    const id = await tasks.addTask(cut, [], { delay: 60_000 });
    await tasks.work();
    await started.promise;
    // its answer did not come
    const fetch = `update graphile_worker._private_jobs set attempts = 1, locked_at = now(), run_at = now(), locked_by =
      (select locked_by from graphile_worker.jobs where task_identifier = 'long') where key = $1`;
    await rig.sql(fetch, [id]);
    await rig.sql("alter table graphile_worker._private_jobs rename to away");
    await vi.waitFor(() => expect(told.join("\n")).toContain("is in trouble"), SHORTLY);
    gate.resolve();
    // it can neither be started again nor free anything
    await rig.sql("select pg_sleep(1)");
    await rig.sql("alter table graphile_worker.away rename to _private_jobs");
    await vi.waitUntil(() => runs.mock.calls.length > 0, SHORTLY);
    await tasks.idle();
    expect([runs.mock.calls.length, await rig.jobs()]).toEqual([1, []]);
  });

  test("a worker that looks for tasks tells that the store is back, though nobody adds one", async () => {
    const tasks = rig.open({ makeWorkerUtils: losing(rig.make, { of: /add_job/, unsent: true }) });
    const task = tasks.task("task", () => {});
    await tasks.work();
    await expect(tasks.addTask(task)).rejects.toMatchObject({ code: "TASK_STORE" });
    await vi.waitUntil(() => told.join("\n").includes("can be reached again"), SHORTLY);
  });

  test("a start that failed is nothing that a shutdown waits for", async () => {
    const run = vi.fn((options: object) => rig.run(options));
    run.mockRejectedValueOnce(new Error("connection lost"));
    const tasks = rig.open({ run });
    const ran = deferred();
    const task = tasks.task("task", () => ran.resolve());
    await expect(tasks.work()).rejects.toMatchObject({ code: "TASK_STORE" });
    await tasks.work();
    await tasks.addTask(task);
    await ran.promise;
    const since = performance.now();
    await tasks.shutdown({ timeout: 40_000 });
    expect(performance.now() - since).toBeLessThan(20_000);
  });

  test("a shutdown waits for no server that does not answer, nor does whoever adds a task or starts to work", async () => {
    const { url, hangUp } = await openSilentServer();
    const { run, make: makeWorkerUtils } = rig;
    const tasks = createTasks({ engine: graphileEngine({ run, makeWorkerUtils, connectionString: url }) });
    const task = tasks.task("task", () => {});
    const calls = Promise.allSettled([tasks.addTask(task), tasks.work()]);
    await tasks.shutdown({ timeout: 100 });
    const [adding] = await calls;
    expect(adding).toMatchObject({ status: "rejected", reason: { code: "TASK_STORE", stored: false } });
    // what was waited for no longer fails after all
    hangUp();
    await rig.sql("select pg_sleep(0.3)");
    expect(unhandled.mock.calls).toEqual([]);
  });

  test("a task is not lost whose end could not be stored before its manager had shut down", async () => {
    const unstored = Array.from({ length: 50 }, () => ({ of: /with spent/, unsent: true }));
    const tasks = rig.open({ makeWorkerUtils: losing(rig.make, ...unstored) });
    const ended = deferred();
    const task = tasks.task({ name: "task", retries: 1 }, () => {
      ended.resolve();
      throw new Error("no");
    });
    const id = await tasks.addTask(task);
    await tasks.work();
    await ended.promise;
    await tasks.shutdown({ timeout: 300 });
    expect(await rig.jobs()).toMatchObject([{ key: id, attempts: 1 }]);
  });

  test("a task that is fetched while its worker stops is given back for a second", async () => {
    const tasks = rig.open({ concurrency: 1 });
    const run = vi.fn();
    tasks.task("task", run);
    await tasks.work();
    const pool = rig.openPool(1);
    const client = await pool.connect();
    await client.query("begin; lock table graphile_worker._private_jobs in exclusive mode");
    await client.query("select graphile_worker.add_job('task')");
    const fetching = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    await vi.waitUntil(async () => (await rig.sql(fetching)).length > 0, SHORTLY);
    const stopped = tasks.shutdown({ timeout: 5_000 });
    await client.query("commit");
    client.release();
    await stopped;
    const waits =
      "select extract(epoch from run_at - created_at)::float8 as seconds, attempts from graphile_worker.jobs";
    expect([run.mock.calls, await rig.sql(waits)]).toEqual([[], [{ seconds: 1, attempts: 0 }]]);
  });

  test("each attempt runs once, though all connections are cut while it ends", async () => {
    const tasks = rig.open({ pgPool: rig.openPool(12), concurrency: 10 });
    const runs: string[] = [];
    const task = tasks.task({ name: "task", retries: 1, delay: 50 }, async (n: number) => {
      const { attempt = 0 } = getTaskContext() ?? {};
      runs.push(`${n} ${attempt}`);
      await new Promise((resolve) => setTimeout(resolve, 100 + n * 20));
      if (n % 3 === 0 && attempt === 0) throw new Error("once more");
    });
    for (let n = 0; n < 30; n += 1) await tasks.addTask(task, [n]);
    await tasks.work();
    for (let cut = 0; cut < 6; cut += 1) {
      await new Promise((resolve) => setTimeout(resolve, 150));
      await rig.sql(DISCONNECT_ALL);
    }
    await tasks.idle();
    expect([runs.length, new Set(runs).size, await rig.jobs()]).toEqual([40, 40, []]);
  });
}

/** A server that takes connections, and says nothing until it closes them. */
async function openSilentServer(): Promise<{ readonly url: string; hangUp(): void }> {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => {
    socket.on("error", () => {}).resume();
    sockets.add(socket);
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const hangUp = (): void => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  };
  onTestFinished(hangUp);
  const address = silent.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has no port");
  return { url: `postgres://postgres@127.0.0.1:${address.port}/test`, hangUp };
}
