import { EventEmitter } from "node:events";
import { trace } from "@opentelemetry/api";
import type { CronCallback } from "croner";
import type { TaskFn } from "node-cron";
import { getTaskContext, memoryEngine, type TaskEngine, TaskManager } from "otel-taskflow";
import { copyAsJson } from "otel-taskflow/engine";
import { describe, expect, expectTypeOf, test, vi } from "vitest";
import { createTasks, deferred } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

/** An engine that says it stores tasks, so that their arguments have to be JSON. */
function storingEngine(): TaskEngine {
  return Object.assign(memoryEngine(), { capabilities: { durable: true, granularity: 0 }, copyArgs: copyAsJson });
}

async function planOf(id: number): Promise<string> {
  if (id === 0) throw new Error("no such account");
  return "pro";
}

describe("callback()", () => {
  test("adds a task at each call", async () => {
    const tasks = createTasks();
    const ids: unknown[] = [];
    const tick = tasks.callback("sweep", () => void ids.push(getTaskContext()?.taskId));
    await tick();
    await tick();
    await tasks.idle();
    expect(new Set(ids).size).toBe(2);
  });

  test.each([[true], [false]])(
    "starts a trace of its own in a request and in a task, with a context manager: %s",
    async (contextManager) => {
      const telemetry = startTelemetry({ contextManager });
      const tasks = createTasks();
      const tick = tasks.callback("sweep", () => {});
      const outer = tasks.task("outer", () => tick());
      await trace.getTracer("test").startActiveSpan("request", async (span) => {
        await tick();
        await tasks.addTask(outer);
        span.end();
      });
      await tasks.idle();
      const spans = telemetry.named("enqueue sweep");
      expect(spans.map(({ parentSpanContext }) => parentSpanContext)).toEqual([undefined, undefined]);
      expect(spans.map(({ attributes }) => attributes["task.parent.id"])).toEqual([undefined, undefined]);
    },
  );

  test("retries each run on its own, and keeps overlapping runs apart", async () => {
    const telemetry = startTelemetry();
    const tasks = createTasks();
    const work = (id: number): void => {
      if (getTaskContext()?.attempt === 0) throw new Error(`run ${id} fails once`);
    };
    const tick = tasks.callback({ name: "sweep", retries: 1 }, work);
    await Promise.all([tick(1), tick(2)]);
    await tasks.idle();
    const ids = telemetry.named("enqueue sweep").map(({ attributes }) => attributes["task.id"]);
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) {
      const spans = telemetry.spans().filter(({ attributes }) => attributes["task.id"] === id);
      expect(spans.map(({ attributes }) => attributes["task.attempt"])).toEqual([undefined, 0, 1]);
      expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
    }
  });

  test("passes on an event's arguments, with tags made of them", async () => {
    const tasks = createTasks();
    const shop = new EventEmitter<{ order: [{ id: number; plan: string }] }>();
    const seen: unknown[] = [];
    const bill = tasks.callback(
      "bill",
      (order: { id: number; plan: string }) => void seen.push(order.id, getTaskContext()?.tags),
      ({ plan }) => ({ tags: { plan } }),
    );
    shop.on("order", bill);
    shop.emit("order", { id: 7, plan: "pro" });
    await tasks.idle();
    expect(seen).toEqual([7, { plan: "pro" }]);
  });

  test("keeps from a function without parameters what a cron library passes to everyone", async () => {
    const diag = collectDiag();
    const tasks = createTasks({ engine: storingEngine() });
    const received: unknown[] = [];
    const record = function sweep(): void {
      // biome-ignore lint/complexity/noArguments: what a declared parameter would change
      received.push(arguments.length);
    };
    const fire: (job: object) => unknown = tasks.callback({}, record);
    await fire(new EventEmitter());
    await tasks.idle();
    expect([received, diag]).toEqual([[0], []]);
  });

  test("adds no run while the one before is under way, if they share an id", async () => {
    const gate = deferred();
    const tasks = createTasks();
    const run = vi.fn(() => gate.promise);
    const tick = tasks.callback("sweep", run, { taskId: "sweep" });
    await tick();
    await tick();
    gate.resolve();
    await tasks.idle();
    expect(run).toHaveBeenCalledTimes(1);
    await tick();
    await tasks.idle();
    expect(run).toHaveBeenCalledTimes(2);
  });

  test("never rejects: what goes wrong is told to diag", async () => {
    const diag = collectDiag();
    const tasks = new TaskManager();
    const tick = tasks.callback("sweep", () => {});
    const tagged = tasks.callback(
      "tagged",
      () => {},
      () => JSON.parse("{"),
    );
    await tagged();
    await tasks.shutdown();
    await tick();
    expect(diag).toEqual([expect.stringContaining("SyntaxError"), expect.stringContaining("TaskManagerClosedError")]);
  });

  test("waits for the options that an async function makes, and tells diag of one that rejects", async () => {
    const diag = collectDiag();
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    const tasks = createTasks();
    const seen: unknown[] = [];
    const look = (id: number): void => void seen.push([id, getTaskContext()?.tags]);
    const tick = tasks.callback("look", look, async (id: number) => ({ tags: { plan: await planOf(id) } }));
    await tick(7);
    await tick(0);
    await tasks.idle();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", unhandled);
    expect(seen).toEqual([[7, { plan: "pro" }]]);
    expect([diag, unhandled.mock.calls]).toEqual([[expect.stringContaining("no such account")], []]);
  });

  test.each([
    [{ tags: { "bad key": "x" } }, /"bad key"/],
    [{ delay: -1 }, /delay: .*-1/],
    [JSON.parse("null"), /callback\(\): its options: expected an object, received null/],
  ])("refuses %o at once, and registers nothing", (each, message) => {
    const tasks = createTasks();
    expect(() => tasks.callback("sweep", () => {}, each)).toThrow(message);
    expect(() => tasks.callback("sweep", () => {})).not.toThrow();
  });

  test("is typed by the function", () => {
    const tasks = createTasks();
    const none = tasks.callback("none", () => {});
    const one = tasks.callback("one", (_order: { id: number }) => {});
    expectTypeOf(none).toEqualTypeOf<() => Promise<void>>();
    expectTypeOf(one).parameters.toEqualTypeOf<[_order: { id: number }]>();
    expectTypeOf(none).toExtend<CronCallback & TaskFn>();
    const byText = (id: string): { tags: { id: string } } => ({ tags: { id } });
    // @ts-expect-error: tags are made of the same arguments
    tasks.callback("two", (_id: number) => {}, byText);
  });
});
