import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { context, trace } from "@opentelemetry/api";
import { Logger, type TaskList } from "graphile-worker";
import { getTaskContext, TaskManager } from "otel-taskflow";
import { addJob, graphileEngine, withTask, withTasks } from "otel-taskflow/graphile-worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { postgresUrl } from "../../support/servers.js";
import { startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { createDatabase, dropDatabase, queryOnce } from "./database.js";
import { GRAPHILE, VERSIONS, type Version } from "./versions.js";

const { url: server = "", unavailable } = await postgresUrl();
const logger = new Logger(() => () => {});

if (unavailable !== undefined) describeUnavailable("graphile-worker's withTasks", unavailable);
else for (const version of VERSIONS) describe(`withTasks and graphile-worker ${version}`, () => cases(version));

test("a module that is a mock, with few of the exports, keeps those that it has", async () => {
  const makeWorkerUtils = vi.fn(async () => ({ addJob: async () => "added" }));
  const mock = withTasks({ makeWorkerUtils, other: 1 });
  const utils = await mock.makeWorkerUtils();
  expect([await utils.addJob(), Object.keys(mock)]).toEqual(["added", ["makeWorkerUtils", "other"]]);
});

test("an option that is none is refused at once", () => {
  expect(() => withTasks({}, { tag: () => ({}) } as object)).toThrow(/unknown option "tag"/);
});

interface Seen {
  readonly task: string | undefined;
  readonly same: boolean;
  readonly attempt: number | undefined;
  readonly tags: unknown;
  readonly payload: unknown;
}

function cases(version: Version): void {
  test("every way to add a job leads to one attempt in the trace of who added it, payload and flags as given", async () => {
    const telemetry = startTelemetry();
    const options = await open();
    const { makeWorkerUtils, quickAddJob, run } = withTasks(GRAPHILE[version], { tags: () => ({ plan: "pro" }) });
    const utils = await makeWorkerUtils(options);
    onTestFinished(() => utils.release());
    await utils.migrate();
    const seen: Seen[] = [];
    const note = noter(seen);
    const names = ["utils", "many", "quick", "runner", "helper", "helpers", "batch", "flagged"];
    const tasks: TaskList = Object.fromEntries(names.map((name) => [name, note]));
    tasks.utils = async (payload, helpers) => {
      note(payload, helpers);
      await helpers.addJob("helper", { n: 1 });
      await helpers.addJobs?.([{ identifier: "helpers", payload: { n: 1 } }]);
    };
    const before = { ...tasks };
    const taskList = Object.freeze(tasks);
    const runner = await run({ ...options, taskList, pollInterval: 50, noHandleSignals: true });
    onTestFinished(() => runner.stop());
    const traceId = await request(async () => {
      await utils.addJob("utils", { n: 1 });
      await utils.addJobs?.([{ identifier: "many", payload: { n: 1 } }]);
      await quickAddJob(options, "quick", { n: 1 });
      await runner.addJob("runner", { n: 1 });
      await utils.addJob("batch", [{ n: 1 }], { jobKey: "b" });
      await utils.addJob("flagged", { n: 1 }, { flags: ["slow"] });
    });
    const expected = version === "0.16" && utils.addJobs === undefined ? ["many", "helpers"] : [];
    const all = names.filter((name) => !expected.includes(name));
    await vi.waitFor(() => expect(seen.map(({ task }) => task).sort()).toEqual([...all].sort()), 10_000);
    for (const one of seen) {
      expect(one).toMatchObject({ same: true, attempt: 0, tags: { plan: "pro" } });
      expect(one.payload).toEqual(one.task === "batch" ? [{ n: 1 }] : { n: 1 });
    }
    for (const name of all) {
      await attempts(telemetry, name, 1);
      const spans = telemetry.named(`enqueue ${name}`).concat(telemetry.named(`process ${name}`));
      expect(spans.map((span) => span.spanContext().traceId)).toEqual([traceId, traceId]);
    }
    expect(tasks).toEqual(before);
  });

  test("a plugin of the service's own that puts wrappers into the list works on, within the attempt", async () => {
    const telemetry = startTelemetry();
    const options = await open();
    const { run } = withTasks(GRAPHILE[version]);
    const seen: unknown[] = [];
    const isKnown = (id: unknown): boolean => getTaskContext()?.taskId === String(id);
    const startWorker = (_context: unknown, event: { readonly tasks: object }): void => {
      const tasks = event.tasks as Record<string, (payload: unknown, helpers: { job: { id: unknown } }) => unknown>;
      for (const [name, task] of Object.entries(tasks)) {
        tasks[name] = async (payload, helpers) => {
          seen.push("wrapper", isKnown(helpers.job.id));
          await task(payload, helpers);
        };
      }
    };
    const preset = { plugins: [{ name: "own", version: "1.0.0", worker: { hooks: { startWorker } } }] };
    const own = async (_payload: unknown, { job }: { job: { id: unknown } }) => void seen.push("task", isKnown(job.id));
    const taskList = { own };
    const runner = await run({ ...options, preset, taskList, pollInterval: 50, noHandleSignals: true });
    onTestFinished(() => runner.stop());
    await runner.addJob("own", {});
    await attempts(telemetry, "own", 1);
    expect([seen, taskList.own === own]).toEqual([["wrapper", true, "task", true], true]);
  });

  test("the tasks of a directory are attempts, with their retries, and another producer's job has a trace of its own", async () => {
    const telemetry = startTelemetry();
    const options = await open();
    const { run, makeWorkerUtils } = withTasks(GRAPHILE[version]);
    const taskDirectory = await directory({
      "filed.cjs": "module.exports = async (payload, { job }) => { if (job.attempts === 1) throw new Error('once'); };",
    });
    const utils = await makeWorkerUtils(options);
    onTestFinished(() => utils.release());
    await utils.migrate();
    const runner = await run({ ...options, taskDirectory, pollInterval: 50, noHandleSignals: true, concurrency: 3 });
    onTestFinished(() => runner.stop());
    await queryOnce(options.connectionString, "select graphile_worker.add_job('filed', '{}'::json)");
    await attempts(telemetry, "filed", 1);
    await vi.waitFor(async () => {
      await queryOnce(options.connectionString, "update graphile_worker._private_jobs set run_at = now()");
      expect(telemetry.named("process filed").length).toBe(2);
    }, 10_000);
    const spans = telemetry.named("process filed");
    expect(spans.map(({ attributes }) => attributes["task.outcome"])).toEqual(["retry", "success"]);
    expect(spans.map(({ attributes }) => attributes["task.attempt"])).toEqual([0, 1]);
    expect(telemetry.named("enqueue filed")).toEqual([]);
  });

  test("the label that the options give is in the enqueue span and its count too, by one tracer for all", async () => {
    const [telemetry, metrics] = [startTelemetry(), startMetrics()];
    const getTracer = vi.fn((name: string, of?: string) => telemetry.provider.getTracer(name, of));
    const options = { name: () => "crawl", tracerProvider: { getTracer } };
    const utils = await withTasks(GRAPHILE[version], options).makeWorkerUtils(await open());
    onTestFinished(() => utils.release());
    const { id } = await utils.addJob("crawl-1", {});
    await utils.addJob("crawl-2", {});
    const [first] = telemetry.named("enqueue crawl");
    expect(first?.attributes).toMatchObject({ "task.name": "crawl-1", "task.id": id });
    const enqueued = (await metrics.collect()).get("task.enqueued")?.dataPoints;
    expect(enqueued?.map(({ attributes, value }) => [attributes["task.name"], value])).toEqual([["crawl", 2]]);
    expect(getTracer).toHaveBeenCalledTimes(1);
  });

  test("what is odd about a job is for graphile-worker to judge", async () => {
    startTelemetry();
    const options = await open();
    const [bare, utils] = [
      await GRAPHILE[version].makeWorkerUtils(options),
      await withTasks(GRAPHILE[version]).makeWorkerUtils(options),
    ];
    onTestFinished(async () => void (await Promise.all([bare.release(), utils.release()])));
    const refusal = (adding: Promise<unknown>): Promise<unknown> => adding.then(String, String);
    // as JavaScript may give them
    const mine: object = { tags: ["mine"], relation: "mine", tracerProvider: "mine", maxAttempts: 2 };
    expect(await utils.addJob("odd", {}, mine)).toMatchObject({ max_attempts: 2 });
    for (const spec of [{ flags: "slow" }, { maxAttempts: -1 }, { runAt: "some day" }] as object[]) {
      const told = await refusal(bare.addJob("odd", {}, spec));
      expect([told, await refusal(utils.addJob("odd", {}, spec))]).toEqual([expect.stringMatching(/rror/), told]);
    }
  });

  test("a run of the crontab says so, in a trace of its own, under the label that the options give", async () => {
    const telemetry = startTelemetry();
    const options = await open();
    const { run } = withTasks(GRAPHILE[version], { name: ({ name }) => `cron ${name}`, retryStatus: "unset" });
    const taskList: TaskList = { tick: async (_payload, { job }) => void (await failOnce(job.attempts)) };
    const runner = await run({ ...options, taskList, pollInterval: 50, noHandleSignals: true });
    onTestFinished(() => runner.stop());
    // as the crontab stores it
    const payload = JSON.stringify({ _cron: { ts: "2026-01-01T00:00:00.000Z", backfilled: false } });
    await queryOnce(options.connectionString, `select graphile_worker.add_job('tick', '${payload}'::json)`);
    await vi.waitFor(() => expect(telemetry.named("process cron tick").length).toBe(1), 10_000);
    const { attributes, status, parentSpanContext, links } = telemetry.span("process cron tick");
    expect(attributes).toMatchObject({ "task.trigger": "schedule", "task.name": "tick", "task.outcome": "retry" });
    expect([status.code, parentSpanContext, links]).toEqual([0, undefined, []]);
  });

  test("a task that is added to the list later is one as well", async () => {
    const telemetry = startTelemetry();
    const options = await open();
    const { run } = withTasks(GRAPHILE[version]);
    const tasks: TaskList = { first: async () => {} };
    const runner = await run({ ...options, taskList: tasks, pollInterval: 50, noHandleSignals: true });
    onTestFinished(() => runner.stop());
    tasks.later = async () => {};
    await runner.addJob("later", {});
    await attempts(telemetry, "later", 1);
  });

  test("what is wrapped by hand too is one attempt and one enqueue span", async () => {
    const telemetry = startTelemetry();
    const options = await open();
    const { run, makeWorkerUtils } = withTasks(GRAPHILE[version]);
    const utils = await makeWorkerUtils(options);
    onTestFinished(() => utils.release());
    await utils.migrate();
    const seen: Seen[] = [];
    const runner = await run({
      ...{ ...options, pollInterval: 50, noHandleSignals: true },
      taskList: { twice: withTask(withTask(noter(seen))) },
    });
    onTestFinished(() => runner.stop());
    await addJob(utils, "twice", {}, { tags: { by: "hand" } });
    await attempts(telemetry, "twice", 1);
    expect(seen).toMatchObject([{ same: true, tags: { by: "hand" } }]);
    expect(telemetry.named("enqueue twice").length).toBe(1);
  });

  test("the engine on a module of this kind runs its own tasks as before", async () => {
    const telemetry = startTelemetry();
    const options = await open();
    const { run, makeWorkerUtils } = withTasks(GRAPHILE[version]);
    const tasks = new TaskManager({
      engine: graphileEngine({ run, makeWorkerUtils, connectionString: options.connectionString }),
    });
    onTestFinished(async () => void (await tasks.shutdown()));
    const send = tasks.task("send", async () => {});
    await tasks.work();
    await tasks.addTask(send, [], { tags: { plan: "pro" } });
    await tasks.idle();
    expect(telemetry.named("process send").length).toBe(1);
    expect(telemetry.named("enqueue send").length).toBe(1);
    expect(telemetry.span("process send").attributes["task.engine"]).toBe("graphile-worker");
  });

  test("jobs that are ignored, and producers that are left alone, are as without this library", async () => {
    const telemetry = startTelemetry();
    const options = await open();
    const ignoring = withTasks(GRAPHILE[version], { ignore: ({ name }) => name === "noise" });
    const { makeWorkerUtils } = withTasks(GRAPHILE[version], { producer: false });
    const utils = await makeWorkerUtils(options);
    onTestFinished(() => utils.release());
    await utils.migrate();
    const seen: Seen[] = [];
    const taskList = { noise: noter(seen), music: noter(seen) };
    const runner = await ignoring.run({ ...options, taskList, pollInterval: 50, noHandleSignals: true });
    onTestFinished(() => runner.stop());
    await utils.addJob("music", {});
    await runner.addJob("noise", {});
    await vi.waitFor(() => expect(seen.length).toBe(2), 10_000);
    await attempts(telemetry, "music", 1);
    expect(seen.find(({ task }) => task === undefined)).toBeDefined();
    expect(telemetry.named("enqueue music").concat(telemetry.named("process noise"))).toEqual([]);
  });
}

function noter(seen: Seen[]): (payload: unknown, helpers: { job: { id: unknown } }) => void {
  return (payload, { job }) => {
    const task = getTaskContext();
    seen.push({
      ...{ task: task?.funcName, same: task?.taskId === String(job.id), attempt: task?.attempt },
      ...{ tags: task?.tags, payload },
    });
  };
}

async function failOnce(attempts: number): Promise<void> {
  if (attempts === 1) throw new Error("once");
}

async function open(): Promise<{ connectionString: string; logger: Logger }> {
  const connectionString = await createDatabase(server);
  onTestFinished(() => dropDatabase(server, connectionString));
  return { connectionString, logger };
}

async function directory(files: Readonly<Record<string, string>>): Promise<string> {
  const root = join(import.meta.dirname, "../../../node_modules/.cache");
  await mkdir(root, { recursive: true });
  const folder = await mkdtemp(join(root, "tasks-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

async function request(fn: () => Promise<void>): Promise<string> {
  const span = trace.getTracer("test").startSpan("POST /");
  await context.with(trace.setSpan(context.active(), span), fn);
  span.end();
  return span.spanContext().traceId;
}

async function attempts(telemetry: TestTelemetry, name: string, count: number): Promise<void> {
  await vi.waitFor(() => expect(telemetry.named(`process ${name}`).length).toBe(count), 10_000);
}
