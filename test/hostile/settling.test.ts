import { getEventListeners } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { type Context, context, createContextKey, propagation, ROOT_CONTEXT } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { carryAttempt, continueAttempt, enqueueTask, getTaskContext, runAttempt, TaskManager } from "otel-taskflow";
import { describe, expect, onTestFinished, test } from "vitest";
import { createTasks, deferred } from "../support/tasks.js";
import { startTelemetry, stopTelemetry, useContextManager } from "../support/telemetry.js";
import { explode, idleSoon, watchUnhandled } from "./fixtures.js";

type Enter = (within: Context, fn: () => unknown) => unknown;

const real = new AsyncLocalStorageContextManager().enable();
const enterWell: Enter = (within, fn) => real.with(within, fn);
const unreadable = {
  getValue: explode,
  setValue: () => unreadable,
  deleteValue: () => unreadable,
} as unknown as Context;

/** Every way a context manager may fail: what is active, and how a function is called. */
const managers: Record<string, [active: () => Context, enter: Enter]> = {
  "whose active() throws": [explode, enterWell],
  "whose active() gives nothing": [() => null as unknown as Context, enterWell],
  "whose active context cannot be read": [() => unreadable, enterWell],
  "whose with() throws before it calls": [() => real.active(), explode],
  "whose with() throws after it has called": [() => real.active(), (within, fn) => [real.with(within, fn), explode()]],
  "whose with() never calls": [() => real.active(), () => undefined],
  "whose with() calls twice": [() => real.active(), (within, fn) => [real.with(within, fn), real.with(within, fn)]],
  "whose with() calls later": [() => real.active(), (within, fn) => void setImmediate(() => real.with(within, fn))],
};

describe.each(Object.entries(managers))("with a context manager %s", (_, [active, enter]) => {
  test("each function runs exactly once, in its task", async () => {
    startTelemetry({ contextManager: false });
    context.setGlobalContextManager({
      active,
      with: (within: Context, fn: (...args: never[]) => unknown) => enter(within, fn as () => unknown) as never,
      bind: (_within: Context, target: never) => target,
      enable: () => real,
      disable: () => real,
    } as never);
    const ran: unknown[] = [];
    const look = (): unknown => ran.push(getTaskContext()?.funcName);
    const tasks = createTasks();
    await tasks.addTask(tasks.task("stored", look), [], { tags: { plan: "pro" } });
    await idleSoon(tasks);
    await enqueueTask({ funcName: "sent" }, (carrier) => runAttempt({ carrier, funcName: "handled" }, look));
    await continueAttempt({ carrier: { "otel-taskflow": '{"v":1,"id":"i","name":"continued"}' } }, look);
    await wait(2);
    expect(ran).toEqual(["stored", "handled", "continued"]);
    expect(carryAttempt()).toBeTypeOf("object");
  });
});

test.each(["getValue", "setValue", "deleteValue"] as const)(
  "an attempt settles where a propagator gives a context whose %s throws",
  async (method) => {
    useContextManager();
    onTestFinished(stopTelemetry);
    const broken = (inner: Context): Context => ({
      getValue: (key) => inner.getValue(key),
      setValue: (key, value) => broken(inner.setValue(key, value)),
      deleteValue: (key) => broken(inner.deleteValue(key)),
      [method]: explode,
    });
    const extract = (): Context => broken(ROOT_CONTEXT.setValue(createContextKey("any"), 1));
    propagation.setGlobalPropagator({ inject() {}, extract, fields: () => [] });
    const info = { funcName: "job", carrier: { a: "b" }, tags: { plan: "pro" } };
    expect(await runAttempt(info, async () => getTaskContext()?.tags.plan)).toBe("pro");
  },
);

test("a propagator that injects by a promise keeps nothing from the queue, and its rejection reaches nobody", async () => {
  const unhandled = watchUnhandled();
  propagation.setGlobalPropagator({
    inject: async () => explode(),
    extract: (one: Context) => one,
    fields: () => [],
  } as never);
  onTestFinished(stopTelemetry);
  expect(Object.keys(await enqueueTask({ funcName: "job" }, (carrier) => carrier))).toEqual(["otel-taskflow"]);
  await unhandled.settled();
  expect(unhandled.reasons).toEqual([]);
});

describe.each(["tracerProvider", "meterProvider", "loggerProvider"])("%s", (option) => {
  test.each([false, "", 0, null, {}])("that is no provider is refused at once: %o", async (provider) => {
    expect(() => new TaskManager({ [option]: provider })).toThrow(new RegExp(`${option}: expected a provider`));
    await expect(runAttempt({ funcName: "job", [option]: provider }, () => 1)).rejects.toMatchObject({
      code: "TASK_CONFIG",
    });
  });
});

test.each([
  ["nothing", null],
  ["no way to leave", { aborted: false, addEventListener() {} }],
  ["no way to listen", { aborted: false, removeEventListener() {} }],
])("a signal with %s is refused at once", async (_, signal) => {
  const attempt = runAttempt({ funcName: "job", signal: signal as never }, () => 1);
  await expect(attempt).rejects.toThrow(/signal: expected an AbortSignal/);
});

test("an attempt settles whatever its signal throws", async () => {
  const broken = { addEventListener: explode, removeEventListener: explode, aborted: false };
  const unreadableSignal = Object.defineProperty({ ...broken }, "aborted", { get: explode });
  for (const signal of [broken, unreadableSignal]) {
    expect(await runAttempt({ funcName: "job", signal: signal as never }, async () => 1)).toBe(1);
  }
});

test("a hook knows its task where a promise with a then of its own is called back in another one", async () => {
  let callBack: (value: number) => void = () => {};
  const seen: unknown[] = [];
  const tasks = createTasks({
    onSuccess: ({ context: task }) => void seen.push([task.taskId, getTaskContext()?.taskId]),
  });
  const then = (resolve: (value: number) => void): void => {
    callBack = resolve;
  };
  const late = tasks.task("late", () => Object.assign(Promise.resolve(1), { then }));
  const other = tasks.task("other", async () => callBack(1));
  await tasks.addTask(late, [], { taskId: "A" });
  await tasks.addTask(other, [], { taskId: "B" });
  await idleSoon(tasks);
  expect(seen.toSorted()).toEqual([
    ["A", "A"],
    ["B", "B"],
  ]);
});

test.each([
  ["rejects", async () => explode()],
  ["answers by a promise", async () => "late"],
  ["answers by a number", () => 7],
])("an idOf that %s changes nothing", async (_, idOf) => {
  const unhandled = watchUnhandled();
  const telemetry = startTelemetry();
  const options = { idOf: idOf as unknown as () => string };
  expect(await enqueueTask({ funcName: "job", taskId: "own" }, () => "sent", options)).toBe("sent");
  await unhandled.settled();
  expect([telemetry.span("enqueue job").attributes["task.id"], unhandled.reasons]).toEqual(["own", []]);
});

test("many attempts share one signal by one listener, and leave none behind", async () => {
  const stop = new AbortController();
  const listeners = (): number => getEventListeners(stop.signal, "abort").length;
  const gate = deferred();
  const run = (): Promise<void> => runAttempt({ funcName: "job", signal: stop.signal }, () => gate.promise);
  const all = Promise.all(Array.from({ length: 20 }, run));
  expect(listeners()).toBe(1);
  gate.resolve();
  await all;
  expect(listeners()).toBe(0);
  const hangs = (): Promise<never> => new Promise(() => {});
  const cut = [1, 2].map(() => runAttempt({ funcName: "job", signal: stop.signal }, hangs));
  stop.abort();
  const code = { status: "rejected", reason: { code: "TASK_CANCELLED" } };
  expect(await Promise.allSettled(cut)).toMatchObject([code, code]);
});
