import { AsyncLocalStorage } from "node:async_hooks";
import { DiagLogLevel, trace } from "@opentelemetry/api";
import {
  getTaskContext,
  isTaskConfigError,
  isTaskManagerClosedError,
  isTaskQueueFullError,
  memoryEngine,
  type TaskEngine,
  type TaskManager,
  type TaskManagerOptions,
  type TaskScope,
} from "otel-taskflow";
import { copyAsJson } from "otel-taskflow/engine";
import { describe, expect, test } from "vitest";
import { startMetrics } from "../support/metrics.js";
import { createTasks } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

interface Desk {
  readonly tasks: TaskManager;
  readonly scope: TaskScope;
  readonly note: (what: string) => void;
  /** What `note` was called with, in order. */
  readonly ran: string[];
}

function createDesk(options?: TaskManagerOptions): Desk {
  const tasks = createTasks(options);
  const ran: string[] = [];
  const note = tasks.task("note", (what: string) => void ran.push(what));
  return { tasks, scope: tasks.scope(), note, ran };
}

/** An engine that says it stores tasks. */
function storingEngine(): TaskEngine {
  return Object.assign(memoryEngine(), { capabilities: { durable: true, granularity: 0 }, copyArgs: copyAsJson });
}

describe("a scope that was not released", () => {
  test("holds its tasks back", async () => {
    const { tasks, scope, note, ran } = createDesk();
    await scope.addTask(note, ["a"]);
    await tasks.idle();
    expect(ran).toEqual([]);
  });

  test("starts them, in the order in which they were added, when it is released", async () => {
    const { tasks, scope, note, ran } = createDesk();
    await Promise.all(["a", "b", "c"].map((what) => scope.addTask(note, [what])));
    scope.release();
    await tasks.idle();
    expect(ran).toEqual(["a", "b", "c"]);
  });

  test("gives the id that the task will run under, made or given", async () => {
    const { tasks, scope } = createDesk();
    const ids: unknown[] = [];
    const look = tasks.task("look", () => void ids.push(getTaskContext()?.taskId));
    const made = await scope.addTask(look);
    const given = await scope.addTask(look, [], { taskId: "order-7" });
    scope.release();
    await tasks.idle();
    expect(ids).toEqual([made, "order-7"]);
    expect(given).toBe("order-7");
  });

  test("refuses at once what is wrong with a task, and holds nothing of it", async () => {
    const { tasks, scope, note, ran } = createDesk();
    const stranger = (): void => {};
    await expect(scope.addTask(stranger)).rejects.toSatisfy(isTaskConfigError);
    await expect(scope.addTask(note, ["a"], { tags: { "a space": "" } })).rejects.toSatisfy(isTaskConfigError);
    await expect(scope.addTask(note, ["a"], { delay: -1 })).rejects.toSatisfy(isTaskConfigError);
    scope.release();
    await tasks.idle();
    expect(ran).toEqual([]);
  });

  test("keeps the arguments and tags as they were", async () => {
    const { tasks, scope } = createDesk();
    const seen: unknown[] = [];
    const look = tasks.task("look", (what: string) => void seen.push(what, getTaskContext()?.tags));
    const args: [string] = ["a"];
    const tags = { plan: "pro" };
    await scope.addTask(look, args, { tags });
    args[0] = "b";
    tags.plan = "free";
    scope.release();
    await tasks.idle();
    expect(seen).toEqual(["a", { plan: "pro" }]);
  });

  test("starts each task in the async context and the trace of its own addTask, not of release", async () => {
    const telemetry = startTelemetry();
    const { tasks, scope } = createDesk();
    const caller = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const look = tasks.task("look", () => void seen.push(caller.getStore()));
    const add = (name: string): Promise<string> =>
      trace.getTracer("test").startActiveSpan(name, (span) => {
        span.end();
        return caller.run(name, () => scope.addTask(look));
      });
    await add("one");
    await add("two");
    caller.run("releasing", () => scope.release());
    await tasks.idle();
    expect(seen).toEqual(["one", "two"]);
    const parents = telemetry.named("enqueue look").map(({ parentSpanContext }) => parentSpanContext?.spanId);
    expect(parents).toEqual(["one", "two"].map((name) => telemetry.span(name).spanContext().spanId));
  });

  test("refuses more tasks once the manager is shut down", async () => {
    const { tasks, scope, note } = createDesk();
    await tasks.shutdown();
    await expect(scope.addTask(note, ["a"])).rejects.toSatisfy(isTaskManagerClosedError);
  });
});

describe("a scope that is released", () => {
  test("sends what is added from then on at once, and is told what goes wrong", async () => {
    const { tasks, scope, note, ran } = createDesk({ engine: memoryEngine({ maxQueued: 1 }) });
    scope.release();
    await scope.addTask(note, ["a"]);
    await expect(scope.addTask(note, ["b"])).rejects.toSatisfy(isTaskQueueFullError);
    await tasks.idle();
    expect(ran).toEqual(["a"]);
  });

  test("starts nothing twice, and is not discarded any more", async () => {
    const { tasks, scope, note, ran } = createDesk();
    await scope.addTask(note, ["a"]);
    scope.release();
    scope.release();
    scope.discard();
    await scope.addTask(note, ["b"]);
    await tasks.idle();
    expect(ran).toEqual(["a", "b"]);
  });

  test("tells diag which task the engine refused, and starts the others", async () => {
    const diag = collectDiag();
    const { tasks, scope, note, ran } = createDesk({ engine: memoryEngine({ maxQueued: 1 }) });
    await scope.addTask(note, ["a"]);
    const refused = await scope.addTask(note, ["b"]);
    scope.release();
    await tasks.idle();
    expect(ran).toEqual(["a"]);
    expect(diag).toEqual([expect.stringMatching(`${refused}.*TaskQueueFullError`)]);
  });

  test("after the manager was shut down tells diag which task is lost", async () => {
    const diag = collectDiag();
    const { tasks, scope, note, ran } = createDesk();
    const lost = await scope.addTask(note, ["a"]);
    const report = await tasks.shutdown({ timeout: 5 });
    expect(report).toEqual({ completed: 0, abandoned: [{ taskId: lost, funcName: "note", state: "ready" }] });
    scope.release();
    expect(ran).toEqual([]);
    await expect.poll(() => diag).toEqual([expect.stringMatching(`${lost}.*TaskManagerClosedError`)]);
  });
});

test("a shutdown waits for what a scope holds: what is released meanwhile runs", async () => {
  const { tasks, scope, note, ran } = createDesk();
  const other = tasks.scope();
  await scope.addTask(note, ["a"]);
  await other.addTask(note, ["b"]);
  const stopping = tasks.shutdown();
  other.discard();
  await new Promise((resolve) => setImmediate(resolve));
  scope.release();
  expect(await stopping).toEqual({ completed: 1, abandoned: [] });
  expect(ran).toEqual(["a"]);
});

describe("a scope that is discarded", () => {
  test("starts none of its tasks, nor what is added later, nor when it is released", async () => {
    const { tasks, scope, note, ran } = createDesk();
    await scope.addTask(note, ["a"]);
    scope.discard();
    await scope.addTask(note, ["b"]);
    scope.release();
    await scope.addTask(note, ["c"]);
    await tasks.idle();
    expect(ran).toEqual([]);
  });

  test("names to diag, at debug level, each task it leaves out", async () => {
    const diag = collectDiag(DiagLogLevel.DEBUG);
    const { scope, note } = createDesk();
    const before = await scope.addTask(note, ["a"]);
    scope.discard();
    const after = await scope.addTask(note, ["b"]);
    const lines = diag.filter((line) => line.includes("left out"));
    expect(lines).toEqual([expect.stringContaining(before), expect.stringContaining(after)]);
  });

  test("leaves no span and no count behind", async () => {
    const telemetry = startTelemetry();
    const { collect } = startMetrics();
    const { tasks, scope, note } = createDesk();
    await scope.addTask(note, ["a"]);
    scope.discard();
    await tasks.shutdown();
    expect(telemetry.spans()).toEqual([]);
    expect([...(await collect()).keys()]).toEqual([]);
  });

  test("is no one else's affair", async () => {
    const { tasks, scope, note, ran } = createDesk();
    const other = tasks.scope();
    await scope.addTask(note, ["a"]);
    await other.addTask(note, ["b"]);
    scope.discard();
    other.release();
    await tasks.idle();
    expect(ran).toEqual(["b"]);
  });
});

describe("with a durable engine, a scope", () => {
  test("sends its tasks at once, and discarding it changes nothing", async () => {
    const { tasks, scope, note, ran } = createDesk({ engine: storingEngine() });
    await scope.addTask(note, ["a"]);
    scope.discard();
    await scope.addTask(note, ["b"]);
    await tasks.idle();
    expect(ran).toEqual(["a", "b"]);
  });

  test("is done with a task when the engine has accepted it, and says when it has not", async () => {
    const enqueue = (): Promise<boolean> => Promise.reject(new Error("the store is down"));
    const engine = storingEngine();
    const { scope, note } = createDesk({
      engine: { ...engine, open: (host) => Object.assign(engine.open(host), { enqueue }) },
    });
    await expect(scope.addTask(note, ["a"])).rejects.toThrow("the store is down");
  });

  test("tells the caller what cannot be stored", async () => {
    const { tasks, scope } = createDesk({ engine: storingEngine() });
    const take = tasks.task("take", (_callback: () => void) => {});
    await expect(scope.addTask(take, [() => {}])).rejects.toThrow("args[0]");
  });
});
