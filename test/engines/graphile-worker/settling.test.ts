import { getTaskContext, NonRetryableError } from "otel-taskflow";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { postgresUrl } from "../../support/servers.js";
import { deferred } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { losing, waiting } from "./lost-answers.js";
import { openRig, type Rig, UNLOCK_ALL } from "./rig.js";
import { VERSIONS, type Version } from "./versions.js";

const SHORTLY = { timeout: 8_000, interval: 50 };
const MOST = 32_767;

const { url: server = "", unavailable } = await postgresUrl();

if (unavailable !== undefined) describeUnavailable("how graphileEngine stores ends", unavailable);
else for (const version of VERSIONS) describe(`graphileEngine with ${version}`, () => settlingCases(version));

function settlingCases(version: Version): void {
  let rig: Rig;
  beforeEach(async () => {
    collectDiag();
    rig = await openRig(version, server);
  });

  // Two workers have the same attempt: the lock of the first was taken away.
  const runTwice = async (first: () => unknown, second: () => unknown) => {
    const gates = [deferred(), deferred()];
    const started = [deferred(), deferred()];
    const told: string[] = [];
    const runs: unknown[] = [];
    const managers = [first, second].map((end, index) => {
      const name = ["first", "second"][index];
      const tell = (what: string) => (): void => void told.push(`${name} ${what}`);
      const hooks = { onSuccess: tell("success"), onRetry: tell("retry"), onFailure: tell("failure") };
      const tasks = rig.open({ concurrency: 1 }, hooks);
      const task = tasks.task({ name: "task", retries: 1, delay: 60_000 }, async () => {
        runs.push(name);
        started[index]?.resolve();
        await gates[index]?.promise;
        return end();
      });
      return { tasks, task };
    });
    const [one, two] = managers;
    if (one === undefined || two === undefined) throw new Error("there are two managers");
    const id = await one.tasks.addTask(one.task);
    await one.tasks.work();
    await started[0]?.promise;
    await rig.sql(UNLOCK_ALL);
    await two.tasks.work();
    await started[1]?.promise;
    const isDone = (who: number) => async (): Promise<void> => {
      gates[who]?.resolve();
      await vi.waitFor(() => expect(told.some((line) => line.startsWith(["first", "second"][who] ?? ""))).toBe(true));
    };
    return { id, told, runs, endFirst: isDone(0), endSecond: isDone(1), first: one.tasks };
  };
  const fails = (): never => {
    throw new Error("no");
  };
  const givesUp = (): never => {
    throw new NonRetryableError("never");
  };

  test("a task that gives up while a cancel is on its way to it is not told as cancelled as well, and is kept", async () => {
    const told: string[] = [];
    const tell = (what: string) => (): void => void told.push(what);
    const hooks = { onFailure: tell("failure"), onCancel: tell("cancelled") };
    const gaveUp = async (): Promise<void> => {
      await tasks.work();
      await vi.waitFor(
        async () => expect((await rig.jobs())[0]).toMatchObject({ key: null, locked_by: null }),
        SHORTLY,
      );
    };
    const makeWorkerUtils = waiting(rig.make, /txid_current/, gaveUp);
    const tasks = rig.open({ makeWorkerUtils }, hooks);
    const id = await tasks.addTask(tasks.task("task", givesUp));
    expect(await tasks.cancel(id)).toBe(false);
    await tasks.idle();
    expect(told).toEqual(["failure"]);
    expect(await rig.jobs()).toMatchObject([{ last_error: expect.stringContaining("never"), attempts: MOST }]);
  });

  test.each([
    ["retry", fails],
    ["failure", givesUp],
  ])("a worker that lost its lock revives no task that has ended, by a late %s", async (_, end) => {
    const { told, endFirst, endSecond } = await runTwice(end, () => {});
    await endSecond();
    await vi.waitFor(async () => expect(await rig.jobs()).toEqual([]), SHORTLY);
    await endFirst();
    await rig.sql("select pg_sleep(0.3)");
    expect([told[0], await rig.jobs()]).toEqual(["second success", []]);
  });

  test.each([
    ["retry", fails],
    ["failure", givesUp],
  ])("a worker that lost its lock leaves the job to who has it now, after a late %s", async (_, end) => {
    const { id, endFirst, endSecond } = await runTwice(end, () => {});
    const [before] = await rig.jobs();
    await endFirst();
    await rig.sql("select pg_sleep(0.3)");
    expect(before).toMatchObject({ key: id, attempts: 2 });
    expect(await rig.jobs()).toEqual([before]);
    await endSecond();
    await vi.waitFor(async () => expect(await rig.jobs()).toEqual([]), SHORTLY);
  });

  test("a worker whose lock another one has stores nothing, though no delivery was counted", async () => {
    const onRetry = vi.fn();
    const tasks = rig.open({ concurrency: 1 }, { onRetry });
    const [started, gate] = [deferred(), deferred()];
    const task = tasks.task({ name: "task", retries: 1 }, async () => {
      started.resolve();
      await gate.promise;
      fails();
    });
    await tasks.addTask(task);
    await tasks.work();
    await started.promise;
    await rig.sql("update graphile_worker._private_jobs set locked_by = 'another'");
    const before = await rig.jobs();
    gate.resolve();
    await vi.waitUntil(() => onRetry.mock.calls.length > 0, SHORTLY);
    await rig.sql("select pg_sleep(0.3)");
    expect(await rig.jobs()).toEqual(before);
  });

  test("a worker that lost its lock gives nothing back when it stops", async () => {
    const { first, endSecond } = await runTwice(fails, () => {});
    const [before] = await rig.jobs();
    await first.shutdown({ timeout: 100 });
    expect(await rig.jobs()).toEqual([before]);
    await endSecond();
    await vi.waitFor(async () => expect(await rig.jobs()).toEqual([]), SHORTLY);
  });

  test.each([
    ["retry", fails, { attempts: 0, last_error: null }],
    ["failure", givesUp, { attempts: MOST, last_error: "never" }],
  ])("a %s that came too late is stored, without another run, when the task is back", async (_, end, stored) => {
    const { runs, endFirst } = await runTwice(end, () => {});
    await endFirst();
    await rig.sql(UNLOCK_ALL);
    await vi.waitFor(async () => expect(await rig.jobs()).toMatchObject([{ ...stored, locked_by: null }]), SHORTLY);
    expect(runs).toEqual(["first", "second"]);
  });

  test.each([
    ["a job", {}],
    ["a job that runs for the last time", { maxAttempts: 1 }],
  ])("the retry of %s takes the place of none that took its own place while it ran", async (_, spec) => {
    const tasks = rig.open();
    const [started, gate] = [deferred(), deferred()];
    const seen: unknown[] = [];
    tasks.task({ name: "sync", retries: 3 }, async ({ n }: { n: number }) => {
      seen.push([n, getTaskContext()?.attempt]);
      if (n !== 1) return;
      started.resolve();
      await gate.promise;
      fails();
    });
    const utils = await rig.make({ connectionString: rig.url });
    onTestFinished(() => utils.release());
    await utils.migrate();
    await utils.addJob("sync", { n: 1 }, { jobKey: "user-7", ...spec });
    await tasks.work();
    await started.promise;
    await utils.addJob("sync", { n: 2 }, { jobKey: "user-7", runAt: new Date(Date.now() + 300) });
    gate.resolve();
    await tasks.idle();
    expect([seen, await rig.jobs()]).toEqual([
      [
        [1, 0],
        [2, 0],
      ],
      [],
    ]);
  });

  test.each([
    ["with a key", { jobKey: "user-7" }],
    ["without a key", {}],
    ["without a key, in its last attempt", { maxAttempts: 1 }],
  ])("the retry of a job %s runs once, though the answer was lost while it ran", async (_, spec) => {
    const seen: unknown[] = [];
    const retried = deferred();
    const gate = deferred();
    const meanwhile = () => retried.promise;
    const tasks = rig.open({ makeWorkerUtils: losing(rig.make, { of: /add_job/, meanwhile }) });
    tasks.task({ name: "sync", retries: 1 }, async () => {
      seen.push(getTaskContext()?.attempt);
      if (seen.length === 1) fails();
      retried.resolve();
      await gate.promise;
    });
    const utils = await rig.make({ connectionString: rig.url });
    onTestFinished(() => utils.release());
    await utils.migrate();
    await utils.addJob("sync", {}, spec);
    await tasks.work();
    await retried.promise;
    // the job of the attempt that failed is put down once its end is known to be stored
    await vi.waitFor(async () => expect(await rig.jobs()).toHaveLength(1), SHORTLY);
    gate.resolve();
    await tasks.idle();
    expect([seen, await rig.jobs()]).toEqual([[0, 1], []]);
  });

  test.each([
    ["of a task", "task"],
    ["of a job without a key", "plain"],
  ])("the failure %s is told once, and kept, though its answer was lost twice", async (_, name) => {
    const onFailure = vi.fn();
    const lost = { of: /last_error/ };
    const tasks = rig.open({ makeWorkerUtils: losing(rig.make, { ...lost, unsent: true }, lost) }, { onFailure });
    const run = vi.fn(givesUp);
    const task = tasks.task(name, () => run());
    if (name === "task") await tasks.addTask(task);
    await tasks.work();
    if (name === "plain") await rig.sql("select graphile_worker.add_job('plain')");
    await vi.waitFor(async () => {
      const ended = { attempts: MOST, max_attempts: MOST, key: null, locked_by: null, last_error: "never" };
      expect(await rig.jobs()).toMatchObject([ended]);
    }, SHORTLY);
    expect([run.mock.calls.length, onFailure.mock.calls.length]).toEqual([1, 1]);
  });

  test.each([
    ["commit", /^commit/],
    ["the removal", /txid_current/],
  ])("cancel() tells, once, though the answer of %s is lost", async (_statement, of) => {
    const onCancel = vi.fn();
    const meanwhile = vi.fn(async () => {});
    const tasks = rig.open({ makeWorkerUtils: losing(rig.make, { of, meanwhile }) }, { onCancel });
    const id = await tasks.addTask(
      tasks.task("task", () => {}),
      [],
      { delay: 60_000 },
    );
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.idle();
    expect([await tasks.cancel(id), onCancel.mock.calls.length, await rig.jobs()]).toEqual([false, 1, []]);
    expect(meanwhile).toHaveBeenCalledOnce();
  });

  test("cancel() tells, once, though the connection breaks while the removal is being stored", async () => {
    const onCancel = vi.fn();
    const pgPool = rig.openPool(4);
    const tasks = rig.open(
      { pgPool, makeWorkerUtils: losing(rig.make, { of: /^commit/, breaks: true }) },
      { onCancel },
    );
    const id = await tasks.addTask(
      tasks.task("task", () => {}),
      [],
      { delay: 60_000 },
    );
    await rig.sql(`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(2); return old; end $$;
      create constraint trigger slow after delete on graphile_worker._private_jobs deferrable initially deferred
        for each row execute function slow();`);
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.idle();
    expect([onCancel.mock.calls.length, await rig.jobs()]).toEqual([1, []]);
  });

  test("cancel() tells, once, though its removal is carried out only when it looks again", async () => {
    const onCancel = vi.fn();
    let requests = 0;
    let late: () => Promise<unknown> = async () => {};
    const makeWorkerUtils: typeof rig.make = async (options) => {
      const utils = await rig.make(options);
      const lend = utils.withPgClient.bind(utils);
      // it finds the task, asks for its removal, and looks again
      const withPgClient: typeof lend = async (use) => {
        requests += 1;
        if (requests === 2) {
          late = () => lend(use);
          throw new Error("connection lost");
        }
        if (requests === 3) await late();
        return await lend(use);
      };
      return Object.assign(utils, { withPgClient });
    };
    const tasks = rig.open({ makeWorkerUtils }, { onCancel });
    const id = await tasks.addTask(
      tasks.task("task", () => {}),
      [],
      { delay: 60_000 },
    );
    requests = 0;
    expect(await tasks.cancel(id)).toBe(true);
    await tasks.idle();
    expect([onCancel.mock.calls.length, await rig.jobs()]).toEqual([1, []]);
  });

  test("a task is not stored beside another producer's job of its id that runs for the last time", async () => {
    const tasks = rig.open();
    const [started, gate] = [deferred(), deferred()];
    const run = vi.fn(async () => {
      started.resolve();
      await gate.promise;
    });
    const task = tasks.task("task", () => run());
    await tasks.work();
    await rig.sql("select graphile_worker.add_job('task', job_key => 'order-7', max_attempts => 1)");
    await started.promise;
    await tasks.addTask(task, [], { taskId: "order-7" });
    gate.resolve();
    await tasks.idle();
    expect(run).toHaveBeenCalledOnce();
  });

  test("cancel() is false, and tells nothing, where the removal was undone and another worker has the task", async () => {
    const onCancel = vi.fn();
    const take = "update graphile_worker._private_jobs set locked_at = now(), locked_by = 'another', attempts = 1";
    const lost = { of: /^commit/, unsent: true, meanwhile: () => takeOver() };
    const tasks = rig.open({ makeWorkerUtils: losing(rig.make, lost) }, { onCancel });
    const waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    // the connection is closed without a commit, while the other waits for what it has locked
    const takeOver = async (): Promise<void> => {
      void vi.waitFor(() => rig.sql(`set lock_timeout = 2000; ${take}`), SHORTLY);
      await vi.waitUntil(async () => (await rig.sql(waiting)).length > 0, SHORTLY);
    };
    const id = await tasks.addTask(
      tasks.task("task", () => {}),
      [],
      { delay: 60_000 },
    );
    expect(await tasks.cancel(id)).toBe(false);
    expect([onCancel.mock.calls, await rig.jobs()]).toMatchObject([[], [{ locked_by: "another" }]]);
  });

  test("a task of a killed worker gives up after maxLost runs, also one that was stored by an earlier release", async () => {
    const onFailure = vi.fn();
    const tasks = rig.open({ maxLost: 3 }, { onFailure });
    const run = vi.fn();
    const task = tasks.task("task", (n: number) => run(n));
    const ids = [await tasks.addTask(task, [1]), await tasks.addTask(task, [2])];
    await rig.sql("update graphile_worker._private_jobs set attempts = case when key = $1 then 3 else 2 end", [ids[0]]);
    await rig.sql("update graphile_worker._private_jobs set max_attempts = 25 where key = $1", [ids[1]]);
    await tasks.work();
    await tasks.idle();
    expect(run.mock.calls).toEqual([[2]]);
    const error = expect.objectContaining({ code: "TASK_LOST" });
    expect(onFailure.mock.calls).toMatchObject([[{ error, context: { taskId: ids[0] } }]]);
    expect(await rig.jobs()).toMatchObject([{ last_error: expect.stringContaining("3") }]);
  });

  test("however often a task was lost, the host is given it", async () => {
    const tasks = rig.open({ maxLost: 1_000 });
    const run = vi.fn();
    await tasks.addTask(tasks.task("task", run));
    await rig.sql("update graphile_worker._private_jobs set attempts = 400");
    await tasks.work();
    await tasks.idle();
    expect(run).toHaveBeenCalledOnce();
  });

  test("a retry that was lost, and then given back, is still redelivered, linked, and counts its wait", async () => {
    const telemetry = startTelemetry();
    const first = rig.open();
    const [started, gate] = [deferred(), deferred()];
    const define = (tasks: ReturnType<Rig["open"]>) =>
      tasks.task({ name: "task", retries: 1, delay: 100 }, async (): Promise<void> => {
        if (getTaskContext()?.attempt === 0) fails();
        started.resolve();
        await gate.promise;
      });
    await first.addTask(define(first));
    // as if the worker that ran the retry had been killed an hour ago
    await rig.sql(`create function lose() returns trigger language plpgsql as $$ begin
      new.attempts := 4; return new; end $$;
      create trigger lose before insert on graphile_worker._private_jobs for each row execute function lose();`);
    await first.work();
    await started.promise;
    await rig.sql("drop trigger lose on graphile_worker._private_jobs");
    await first.shutdown({ timeout: 1_000 });
    const second = rig.open();
    define(second);
    gate.resolve();
    await second.work();
    await second.idle();
    const attempts = telemetry.named("process task");
    const seen = attempts.map(({ attributes }) => [
      attributes["task.attempt"],
      attributes["task.redelivered"] ?? false,
    ]);
    expect(seen).toEqual([
      [0, false],
      [1, true],
      [1, true],
    ]);
    const links = attempts.map((span) => span.links.map(({ context }) => context.spanId));
    expect(links[2]).toContain(attempts[0]?.spanContext().spanId);
    expect(attempts[2]?.attributes["task.wait.duration"]).toBeGreaterThan(1);
  });

  test("a retry counts its wait from when it was due, and what was lost of it, whoever stored its task", async () => {
    const telemetry = startTelemetry();
    const tasks = rig.open();
    tasks.task({ name: "sync", retries: 1, delay: 60_000 }, () => getTaskContext()?.attempt === 0 && fails());
    await tasks.work();
    await rig.sql("select graphile_worker.add_job('sync')");
    await vi.waitFor(async () => expect(await rig.jobs()).toMatchObject([{ attempts: 0, locked_by: null }]), SHORTLY);
    // a minute early, and after a run that graphile-worker took to have failed
    await rig.sql("update graphile_worker._private_jobs set run_at = now(), attempts = 1, last_error = 'unknown'");
    await tasks.idle();
    const [, retry] = telemetry.named("process sync");
    const { attributes } = retry ?? {};
    expect(attributes).toMatchObject({ "task.attempt": 1, "task.redelivered": true, "task.wait.duration": 0 });
  });

  test("a task that this worker has just fetched is waited for by who cancels it", async () => {
    const tasks = rig.open({ concurrency: 1 });
    const [started, gate] = [deferred(), deferred()];
    const long = tasks.task("long", async () => {
      started.resolve();
      await gate.promise;
    });
    const late = tasks.task("late", () => {});
    await tasks.addTask(long);
    await tasks.work();
    await started.promise;
    const id = await tasks.addTask(late, [], { delay: 60_000 });
    const lock = "update graphile_worker._private_jobs set locked_at = $2, locked_by = $3 where key = $1";
    const [running] = await rig.jobs();
    await rig.sql(lock, [id, new Date(), running?.locked_by]);
    const cancelled = tasks.cancel(id);
    await rig.sql("select pg_sleep(0.3)");
    await rig.sql(lock, [id, null, null]);
    expect(await cancelled).toBe(true);
    gate.resolve();
    await tasks.idle();
  });

  test("a task that graphile-worker itself has given up is not cancelled", async () => {
    const onCancel = vi.fn();
    const tasks = rig.open({}, { onCancel });
    const id = await tasks.addTask(tasks.task("task", () => {}));
    await rig.sql("update graphile_worker._private_jobs set attempts = max_attempts");
    expect([await tasks.cancel(id), onCancel.mock.calls]).toEqual([false, []]);
  });

  test("delays count by the server's clock, whatever this process takes for the time", async () => {
    const tasks = rig.open();
    const task = tasks.task({ name: "task", retries: 1, delay: 30_000 }, fails);
    const wait = `select extract(epoch from run_at - now())::float8 as wait from graphile_worker.jobs
      where locked_at is null and run_at > now() + interval '1 s'`;
    for (const skew of [-100_000, 100_000]) {
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + skew });
      onTestFinished(() => void vi.useRealTimers());
      await tasks.addTask(task, [], { delay: 30_000 });
      vi.useRealTimers();
    }
    await tasks.addTask(task);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 100_000 });
    await tasks.work();
    const waits = await vi.waitUntil(async () => {
      const rows = await rig.sql<{ wait: number }>(wait);
      return rows.length === 3 && rows.map((row) => row.wait);
    }, SHORTLY);
    vi.useRealTimers();
    for (const seconds of waits) expect(Math.abs(seconds - 25)).toBeLessThan(25);
  });

  test("a retry keeps the queue, the priority and the flags of another producer's job", async () => {
    const tasks = rig.open();
    tasks.task({ name: "sync", retries: 1, delay: 60_000 }, fails);
    const utils = await rig.make({ connectionString: rig.url });
    onTestFinished(() => utils.release());
    await utils.migrate();
    await utils.addJob("sync", {}, { queueName: "one", priority: 7, flags: ["a", "b"] });
    await utils.addJob("sync", {});
    await tasks.work();
    const retries = "select * from graphile_worker.jobs where key is not null order by priority";
    const expected = [
      { queue_name: null, priority: 0, flags: null },
      { queue_name: "one", priority: 7, flags: { a: true, b: true } },
    ];
    await vi.waitFor(async () => expect(await rig.sql(retries)).toMatchObject(expected), SHORTLY);
  });
}
