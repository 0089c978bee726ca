import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { getTaskContext, TaskManager } from "otel-taskflow";
import { afterAll, describe, expect, type TestContext, test, vi } from "vitest";
import { deferred } from "../../support/tasks.js";
import { otherLinks, recordSpans, type TestTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { type EngineProcess, startProcess } from "../process/start.js";
import type { EngineStore } from "../world.js";
import { postgresBackend } from "./backends.js";
import { closeRig, openRig } from "./rig.js";
import { openStore, worldOf } from "./worlds.js";

const backend = await postgresBackend();
const { url = "" } = backend;
const { schema = "" } = backend.connection;
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("a worker killed in the middle of an attempt", { concurrent: true }, describeCrash);

function describeCrash(): void {
  test("loses no task of the engine, not even one without retries: the same attempt runs again", async (context) => {
    const { store, manager, telemetry } = await openTasks(context);
    const ran = deferred<unknown>();
    const tasks = manager();
    const hangs = tasks.task("hangs", () => {
      const { taskId, attempt, maxAttempts, tags } = getTaskContext() ?? {};
      ran.resolve([taskId, attempt, maxAttempts, { ...tags }]);
    });
    const id = await tasks.addTask(hangs, [], { tags: { plan: "pro" } });
    await killWhenRunning(startWorker(store));
    await tasks.work();
    expect(await ran.promise).toEqual([id, 0, 1, { plan: "pro" }]);
    await vi.waitFor(() => telemetry.span("process hangs"), 5_000);
    const { attributes } = telemetry.span("process hangs");
    expect(attributes).toMatchObject({ "task.id": id, "task.redelivered": true, "task.outcome": "success" });
    await vi.waitFor(async () => expect(await store.stateOf(id)).toBe("done"), 5_000);
  });

  test("is noticed by its worker's silence, long before the attempt would expire", async (context) => {
    const { store, manager, telemetry } = await openTasks(context, { expireInSeconds: 3_600 });
    const tasks = manager();
    const ran = deferred();
    const id = await tasks.addTask(tasks.task("hangs", () => ran.resolve()));
    await killWhenRunning(startWorker(store));
    await tasks.work();
    await ran.promise;
    await vi.waitFor(() => telemetry.span("process hangs"), 5_000);
    expect(telemetry.span("process hangs").attributes).toMatchObject({ "task.id": id, "task.redelivered": true });
  });

  test("uses up no attempt of the engine's task, and the last failure stays linked", async (context) => {
    const { store, manager, telemetry } = await openTasks(context);
    const failing = manager();
    const fails = failing.task({ name: "hangs", retries: 1 }, () => Promise.reject(new Error("not yet")));
    const id = await failing.addTask(fails);
    await failing.work();
    await vi.waitFor(() => telemetry.span("process hangs"), 5_000);
    await failing.shutdown();
    expect(await store.stateOf(id)).toBe("queued");
    await killWhenRunning(startWorker(store));
    const ran = deferred<unknown>();
    const tasks = manager();
    tasks.task({ name: "hangs", retries: 1 }, () => ran.resolve(getTaskContext()?.attempt));
    await tasks.work();
    expect(await ran.promise).toBe(1);
    const [first, second] = await vi.waitFor(() => {
      const spans = telemetry.named("process hangs");
      expect(spans).toHaveLength(2);
      return spans;
    }, 5_000);
    expect(second?.attributes).toMatchObject({ "task.attempt": 1, "task.redelivered": true });
    expect(second && otherLinks(second)).toMatchObject([{ context: { spanId: first?.spanContext().spanId } }]);
  });

  test("counts as one of pg-boss's retries where the adapter is used; the run after it says so", async ({
    onTestFinished,
  }) => {
    const rig = await openRig(backend.connection);
    onTestFinished(() => closeRig(rig));
    const id = await rig.send({ order: 7 }, { retryLimit: 1, expireInSeconds: 2, tags: { plan: "pro" } });
    const script = fileURLToPath(new URL("./adapter-worker.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", script, url, schema, rig.queue], { timeout: 30_000 });
    expect(String((await once(child.stdout, "data"))[0])).toContain(id);
    await kill(child);
    await rig.work(() => {});
    const [attempt] = await rig.attempts(1);
    const expected = { "task.id": id, "task.attempt": 1, "task.redelivered": true, "task.tag.plan": "pro" };
    expect(attempt?.attributes).toMatchObject(expected);
    expect(attempt && otherLinks(attempt)).toEqual([]);
  });
}

interface Tasks {
  readonly store: EngineStore;
  readonly telemetry: TestTelemetry;
  manager(): TaskManager;
}

/** Where a lost attempt is noticed within seconds. */
async function openTasks({ onTestFinished }: TestContext, { expireInSeconds = 2 } = {}): Promise<Tasks> {
  const location = { url, schema, queue: `crash-${crypto.randomUUID()}`, expireInSeconds };
  const store = await openStore(JSON.stringify(location));
  onTestFinished(() => store.close());
  const telemetry = recordSpans();
  const manager = (): TaskManager => {
    const tasks = new TaskManager({ engine: store.engine(), tracerProvider: telemetry.provider });
    onTestFinished(async () => void (await tasks.shutdown({ timeout: 0 })));
    return tasks;
  };
  return { store, telemetry, manager };
}

function startWorker(store: EngineStore): EngineProcess {
  return startProcess("worker", worldOf(backend), store, { stays: true });
}

async function killWhenRunning(worker: EngineProcess): Promise<void> {
  await worker.first("ran");
  await worker.kill();
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "close");
}
