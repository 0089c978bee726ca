import { SpanStatusCode } from "@opentelemetry/api";
import {
  getTaskContext,
  runAttempt,
  type TaskContext,
  type TaskLoggerProvider,
  type TaskManagerOptions,
  taskLog,
} from "otel-taskflow";
import { describe, expect, test, vi } from "vitest";
import { createTasks, deferred } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";
import { breakDiag, explode, hostileErrors, idleSoon, thenThrows, untouchable, watchUnhandled } from "./fixtures.js";

const reject = (): Promise<never> => Promise.reject(new Error("rejected"));
const failures = { throws: explode, rejects: reject };

describe.each(Object.entries(failures))("onLog that %s", (_, onLog) => {
  test("does not reach the code that logs", async () => {
    const telemetry = startTelemetry();
    const unhandled = watchUnhandled();
    const result = await runAttempt({ funcName: "job", onLog }, () => {
      taskLog("a line");
      return "done";
    });
    await unhandled.settled();
    expect([result, unhandled.reasons]).toEqual(["done", []]);
    expect(telemetry.span("process job").events.map((event) => event.name)).toEqual(["a line"]);
  });

  test("is told to diag", async () => {
    const lines = collectDiag();
    const unhandled = watchUnhandled();
    await runAttempt({ funcName: "job", onLog }, () => taskLog("a line"));
    await unhandled.settled();
    expect(lines.filter((line) => line.includes("onLog"))).toHaveLength(1);
  });
});

describe.each(Object.entries(failures))("a hook that %s", (_, hook) => {
  const hooks = { onRetry: hook, onSuccess: hook, onFailure: hook, onCancel: hook };

  test("keeps no task from its retries, nor other tasks from running", async () => {
    const telemetry = startTelemetry();
    const unhandled = watchUnhandled();
    const tasks = createTasks(hooks);
    await tasks.addTask(tasks.task({ name: "flaky", retries: 2 }, explode));
    await tasks.addTask(tasks.task("fine", () => "done"));
    await idleSoon(tasks);
    await unhandled.settled();
    const outcomes = (name: string): unknown[] =>
      telemetry.named(`process ${name}`).map((span) => span.attributes["task.outcome"]);
    expect(outcomes("flaky")).toEqual(["retry", "retry", "failure"]);
    expect(outcomes("fine")).toEqual(["success"]);
    expect(unhandled.reasons).toEqual([]);
  });

  test("is told to diag", async () => {
    const lines = collectDiag();
    const tasks = createTasks(hooks);
    await tasks.addTask(tasks.task({ name: "flaky", retries: 1 }, explode));
    await idleSoon(tasks);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain("a hook of task flaky failed");
  });

  test("keeps no running task from being cancelled", async () => {
    const telemetry = startTelemetry();
    const unhandled = watchUnhandled();
    const tasks = createTasks(hooks);
    const started = deferred();
    const task = tasks.task("stuck", () => {
      started.resolve();
      return new Promise(() => {});
    });
    const id = await tasks.addTask(task);
    await started.promise;
    expect(await tasks.cancel(id)).toBe(true);
    await idleSoon(tasks);
    await unhandled.settled();
    expect(unhandled.reasons).toEqual([]);
    expect(telemetry.span("process stuck").attributes["task.outcome"]).toBe("cancelled");
  });

  test("keeps no waiting task from being cancelled", async () => {
    const unhandled = watchUnhandled();
    const tasks = createTasks(hooks);
    const id = await tasks.addTask(
      tasks.task("later", () => "done"),
      [],
      { delay: 60_000 },
    );
    expect(await tasks.cancel(id)).toBe(true);
    await idleSoon(tasks);
    await unhandled.settled();
    expect(unhandled.reasons).toEqual([]);
  });
});

describe("a hook that never settles", () => {
  const never = (): Promise<never> => new Promise(() => {});

  test.each(["onRetry", "onSuccess", "onFailure"] as const)("%s: shutdown ends the span and resolves", async (name) => {
    const telemetry = startTelemetry();
    const called = deferred();
    const hook = (): Promise<never> => {
      called.resolve();
      return never();
    };
    const tasks = createTasks({ [name]: hook });
    const fn = name === "onSuccess" ? (): string => "done" : explode;
    await tasks.addTask(tasks.task({ name: "job", retries: name === "onRetry" ? 1 : 0 }, fn));
    await called.promise;
    await tasks.shutdown({ timeout: 0 });
    const outcome = { onRetry: "retry", onSuccess: "success", onFailure: "failure" }[name];
    expect(telemetry.span("process job").attributes["task.outcome"]).toBe(outcome);
  });

  test("does not keep a cancelled task's cancel waiting", async () => {
    const tasks = createTasks({ onCancel: never });
    const task = tasks.task("later", () => "done");
    const id = await tasks.addTask(task, [], { delay: 60_000 });
    expect(await tasks.cancel(id)).toBe(true);
    expect(await tasks.shutdown({ timeout: 5 })).toEqual({ completed: 0, abandoned: [] });
  });

  test("does not keep other tasks from running", async () => {
    const tasks = createTasks({ onFailure: never });
    const ran = deferred();
    await tasks.addTask(tasks.task("broken", explode));
    await tasks.addTask(tasks.task("fine", ran.resolve));
    await ran.promise;
  });
});

describe("a hook that returns a hostile object", () => {
  test("changes nothing", async () => {
    const telemetry = startTelemetry();
    const unhandled = watchUnhandled();
    const tasks = createTasks({ onSuccess: () => untouchable() as Promise<void> });
    await tasks.addTask(tasks.task("job", () => "done"));
    await idleSoon(tasks);
    await unhandled.settled();
    expect(telemetry.span("process job").attributes["task.outcome"]).toBe("success");
    expect(unhandled.reasons).toEqual([]);
  });
});

describe("retryIf", () => {
  test("that throws counts as true, and is told to diag", async () => {
    const lines = collectDiag();
    const tasks = createTasks();
    const fn = vi.fn(explode);
    await tasks.addTask(tasks.task({ name: "flaky", retries: 2, retryIf: explode }, fn));
    await idleSoon(tasks);
    expect(fn).toHaveBeenCalledTimes(3);
    expect(lines.filter((line) => line.includes("retryIf"))).toHaveLength(2);
  });

  test("that trips over a hostile error counts as true", async () => {
    const tasks = createTasks();
    const fn = vi.fn(() => Promise.reject(untouchable()));
    const retryIf = (error: unknown): boolean => (error as Error).message !== "fatal";
    await tasks.addTask(tasks.task({ name: "flaky", retries: 1, retryIf }, fn));
    await idleSoon(tasks);
    expect(fn).toHaveBeenCalledTimes(2);
  });
});

describe("deferIf", () => {
  test("that throws leaves the error and its outcome as they are", async () => {
    const telemetry = startTelemetry();
    const lines = collectDiag();
    const error = new Error("the task's own");
    const run = runAttempt({ funcName: "job", deferIf: explode }, () => Promise.reject(error));
    await expect(run).rejects.toBe(error);
    expect(telemetry.span("process job").attributes["task.outcome"]).toBe("error");
    expect(lines.filter((line) => line.includes("deferIf"))).toHaveLength(1);
  });
});

describe("a logger provider", () => {
  const logger = (emit: () => void): TaskLoggerProvider => ({ getLogger: () => ({ emit }) });
  const providers: Record<string, TaskLoggerProvider> = {
    "whose getLogger throws": { getLogger: explode },
    "whose getLogger returns nothing": { getLogger: () => undefined as never },
    "whose loggers throw": logger(explode),
    "whose loggers have no emit": { getLogger: () => ({}) as never },
    "that throws on every call": untouchable() as TaskLoggerProvider,
  };

  test.each(Object.entries(providers))("%s keeps no line from the span and onLog", async (_, loggerProvider) => {
    const telemetry = startTelemetry();
    const onLog = vi.fn();
    const options = { funcName: "job", logs: "both", loggerProvider, onLog } as const;
    expect(await runAttempt(options, () => String(taskLog("a line")))).toBe("undefined");
    expect(telemetry.span("process job").events.map((event) => event.name)).toEqual(["a line"]);
    expect(onLog).toHaveBeenCalledOnce();
  });

  test.each(Object.entries(providers))("%s keeps no failed attempt from its status", async (_, loggerProvider) => {
    vi.stubEnv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "logs/dup");
    const telemetry = startTelemetry();
    const error = new Error("the task's own");
    const run = runAttempt({ funcName: "job", loggerProvider }, () => Promise.reject(error));
    await expect(run).rejects.toBe(error);
    vi.unstubAllEnvs();
    expect(telemetry.span("process job").status.code).toBe(SpanStatusCode.ERROR);
  });
});

describe.each(Object.entries(hostileErrors))("a task that throws %s", (_, create) => {
  test("rejects runAttempt with the very same value, its span ended in error", async () => {
    const telemetry = startTelemetry();
    const error = create();
    const caught = await runAttempt({ funcName: "job" }, () => {
      throw error;
    }).catch((reason: unknown) => ({ same: Object.is(reason, error) }));
    expect(caught).toEqual({ same: true });
    const span = telemetry.span("process job");
    expect(span.status.code).toBe(SpanStatusCode.ERROR);
    expect(span.attributes["error.type"]).toEqual(expect.any(String));
    expect(span.events.map((event) => event.name)).toEqual(["exception"]);
  });

  test("is retried, and hooks and retryIf get the very same value", async () => {
    const telemetry = startTelemetry();
    const unhandled = watchUnhandled();
    const error = create();
    const same: boolean[] = [];
    const note = (event: { error?: unknown }): void => void same.push(Object.is(event.error, error));
    const tasks = createTasks({ onRetry: note, onFailure: note });
    const retryIf = (thrown: unknown): boolean => same.push(Object.is(thrown, error)) > 0;
    const task = tasks.task({ name: "job", retries: 1, retryIf }, () => {
      throw error;
    });
    await tasks.addTask(task);
    await idleSoon(tasks);
    await unhandled.settled();
    expect([same, unhandled.reasons]).toEqual([[true, true, true], []]);
    const statuses = telemetry.named("process job").map((span) => span.status.code);
    expect(statuses).toEqual([SpanStatusCode.ERROR, SpanStatusCode.ERROR]);
  });
});

describe("with a diag logger that throws", () => {
  const everything: TaskManagerOptions = {
    ...{ onLog: explode, onRetry: reject, onSuccess: explode, onFailure: explode, logs: "both" },
    ...{ loggerProvider: { getLogger: explode }, tracerProvider: { getTracer: explode } },
  };

  test("and everything else broken too, tasks run, fail and are retried", async () => {
    startTelemetry();
    breakDiag();
    const unhandled = watchUnhandled();
    const tasks = createTasks(everything);
    const seen: (TaskContext | undefined)[] = [];
    const flaky = tasks.task({ name: "flaky", retries: 1, retryIf: explode }, () => {
      seen.push(getTaskContext());
      taskLog("a line");
      return explode();
    });
    await tasks.addTask(flaky);
    await idleSoon(tasks);
    await unhandled.settled();
    expect(seen.map((task) => task?.attempt)).toEqual([0, 1]);
    expect(unhandled.reasons).toEqual([]);
  });

  test("a damaged carrier is left out", async () => {
    startTelemetry();
    breakDiag();
    const carrier = { "otel-taskflow": "{" };
    expect(await runAttempt({ funcName: "job", carrier }, () => getTaskContext()?.tags)).toEqual({});
  });

  test("a function that goes on after its attempt ended does no harm", async () => {
    startTelemetry();
    breakDiag();
    const unhandled = watchUnhandled();
    const late = deferred();
    const stop = new AbortController();
    const run = runAttempt({ funcName: "job", signal: stop.signal }, () => late.promise);
    stop.abort();
    await expect(run).rejects.toMatchObject({ code: "TASK_CANCELLED" });
    late.reject(untouchable());
    await unhandled.settled();
    expect(unhandled.reasons).toEqual([]);
  });
});

describe("a task that returns something hostile", () => {
  test.each([
    ["an object that throws on every trap", untouchable],
    ["an object whose then throws", thenThrows],
  ])("%s fails as an await of it does", async (_, create) => {
    const telemetry = startTelemetry();
    await expect(runAttempt({ funcName: "job" }, create)).rejects.toThrow("exploded");
    expect(telemetry.span("process job").status.code).toBe(SpanStatusCode.ERROR);
  });

  test("a callable promise, as some libraries have, is awaited inside the attempt", async () => {
    const telemetry = startTelemetry();
    const query = Object.assign(() => {}, {
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
      then: (resolve: (value: unknown) => void) => queueMicrotask(() => resolve(taskLog("queried"))),
    });
    await runAttempt({ funcName: "job" }, () => query);
    expect(telemetry.span("process job").events.map((event) => event.name)).toEqual(["queried"]);
  });
});

describe("a log line survives", () => {
  test.each([
    ["fields that throw on every trap", () => untouchable()],
    ["fields with a throwing getter", () => Object.defineProperty({}, "x", { get: explode, enumerable: true })],
    [
      "more fields than an event may have",
      () => Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, i])),
    ],
  ])("%s", async (_, create) => {
    const telemetry = startTelemetry();
    const onLog = vi.fn();
    await runAttempt({ funcName: "job", onLog }, () => taskLog("a line", create()));
    const [event] = telemetry.span("process job").events;
    expect(event).toMatchObject({ name: "a line", attributes: { "task.log.level": "info" } });
    expect(onLog).toHaveBeenCalledOnce();
  });
});

test("a log line reaches onLog and the log records where the span refuses it", async () => {
  const telemetry = startTelemetry();
  const onLog = vi.fn();
  const emit = vi.fn();
  const tracer = telemetry.provider.getTracer("test");
  const refusing = { startSpan: () => Object.assign(tracer.startSpan("attempt"), { addEvent: explode }) };
  const tracerProvider = { getTracer: () => refusing } as never;
  const options = { tracerProvider, loggerProvider: { getLogger: () => ({ emit }) }, logs: "both", onLog } as const;
  await runAttempt({ funcName: "job", ...options }, () => taskLog("a line"));
  expect([onLog.mock.calls.length, emit.mock.calls.length]).toEqual([1, 1]);
});
