import { context, trace } from "@opentelemetry/api";
import { AlwaysOffSampler } from "@opentelemetry/sdk-trace";
import {
  getTaskContext,
  runAttempt,
  setTaskAttributes,
  type TaskLoggerProvider,
  type TaskLogLine,
  type TaskLogRecord,
  taskEvent,
  taskLog,
  taskLogFields,
} from "otel-taskflow";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { startLogs } from "../support/logs.js";
import { createTasks, deferred } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

function collectRecords(): { records: TaskLogRecord[]; loggerProvider: TaskLoggerProvider } {
  const records: TaskLogRecord[] = [];
  return { records, loggerProvider: { getLogger: () => ({ emit: (record) => records.push(record) }) } };
}

const job = { funcName: "job", taskId: "id-1", tags: { plan: "pro" } };

describe("taskLog as an event", () => {
  test("lands on the attempt's span with level and fields", async () => {
    const telemetry = startTelemetry();
    await runAttempt(job, () => taskLog("charging card", { level: "error", amount: 12.5, retryable: true }));
    const [event] = telemetry.span("process job").events;
    expect(event?.name).toBe("charging card");
    expect(event?.attributes).toEqual({ "task.log.level": "error", amount: 12.5, retryable: true });
  });

  test("lands on the user's own span where one is active", async () => {
    const telemetry = startTelemetry();
    const tracer = telemetry.provider.getTracer("test");
    await runAttempt(job, () =>
      tracer.startActiveSpan("query", (span) => {
        taskLog("slow query");
        span.end();
      }),
    );
    expect(telemetry.span("query").events.map((event) => event.name)).toEqual(["slow query"]);
    expect(telemetry.span("process job").events).toEqual([]);
  });

  test("lands on the attempt's span where the active one does not record", async () => {
    const telemetry = startTelemetry();
    await runAttempt(job, () => {
      const silent = trace.wrapSpanContext({ traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 0 });
      return withSpan(silent, () => taskLog("still seen"));
    });
    expect(telemetry.span("process job").events.map((event) => event.name)).toEqual(["still seen"]);
  });

  test("outside a task lands on the active recording span", () => {
    const telemetry = startTelemetry();
    telemetry.provider.getTracer("test").startActiveSpan("request", (span) => {
      taskLog("no task here", { path: "/" });
      span.end();
    });
    expect(telemetry.span("request").events[0]).toMatchObject({ name: "no task here", attributes: { path: "/" } });
  });

  test("keeps the first 100 lines, counts the others, and still has room for the exception", async () => {
    const telemetry = startTelemetry();
    const attempt = runAttempt(job, () => {
      for (let line = 0; line < 130; line += 1) taskLog(`line ${line}`);
      throw new Error("after all that");
    });
    await expect(attempt).rejects.toThrow("after all that");
    const span = telemetry.span("process job");
    expect(span.events.map((event) => event.name)).toEqual([
      ...Array.from({ length: 100 }, (_, line) => `line ${line}`),
      "exception",
    ]);
    expect(span.attributes["task.log.dropped"]).toBe(30);
  });

  test("never touches a span that has ended, and goes on to onLog", async () => {
    const telemetry = startTelemetry();
    const lines: string[] = [];
    const late = deferred();
    const logged = deferred();
    await runAttempt({ ...job, onLog: (line) => lines.push(line.message) }, () => {
      void late.promise.then(() => taskLog("after the end")).then(logged.resolve);
    });
    late.resolve();
    await logged.promise;
    expect(telemetry.span("process job").events).toEqual([]);
    expect(lines).toEqual(["after the end"]);
  });

  test("makes text of numbers for which a collector would refuse all that is sent with them", async () => {
    const telemetry = startTelemetry();
    const fields = { nan: Number.NaN, far: -Infinity, huge: 1e300, list: [1, Number.NaN], exact: 2 ** 53, part: 0.5 };
    await runAttempt(job, () => {
      taskLog("rates", fields);
      taskEvent("rates", fields);
      setTaskAttributes(fields);
    });
    const span = telemetry.span("process job");
    const safe = { nan: "NaN", far: "-Infinity", huge: "1e+300", list: "[1,null]", exact: 2 ** 53, part: 0.5 };
    for (const { attributes } of [...span.events, span]) expect(attributes).toMatchObject(safe);
    expect(span.events).toHaveLength(2);
  });

  test("makes values safe: cycles, BigInt, errors, dates, and huge strings", async () => {
    const telemetry = startTelemetry();
    const cycle: Record<string, unknown> = { n: 1n };
    cycle.self = cycle;
    const when = new Date(0);
    const values = { cycle, big: 2n, error: new RangeError("x"), when, ids: [1, 2], none: null, mixed: [1, "a"] };
    await runAttempt(job, () => taskLog("odd", { ...values, huge: "x".repeat(10_000) }));
    expect(telemetry.span("process job").events[0]?.attributes).toEqual({
      ...{ "task.log.level": "info", big: "2", error: "RangeError: x", when: when.toISOString(), ids: [1, 2] },
      ...{ cycle: '{"n":"1","self":"[seen above]"}', mixed: '[1,"a"]' },
      huge: `${"x".repeat(8192)}… (1808 more characters)`,
    });
  });

  test("keeps the first 1,000 items of a list, and the size of binary data", async () => {
    const telemetry = startTelemetry();
    const fields = { list: Array.from({ length: 5000 }, (_, n) => n), bytes: new Uint8Array(10_000_000) };
    await runAttempt(job, () => taskLog("big", fields));
    const attributes = telemetry.span("process job").events[0]?.attributes;
    expect(attributes?.list).toHaveLength(1000);
    expect(attributes?.bytes).toBe("[10000000 bytes]");
  });

  test.each([
    ["an error", new RangeError("no"), { error: "RangeError: no" }],
    ["a list", [1, 2], { value: [1, 2] }],
    ["text", "text", { value: "text" }],
  ])("keeps %s passed in place of fields", async (_kind, fields, expected) => {
    const telemetry = startTelemetry();
    await runAttempt(job, () => taskLog("failed", fields as object));
    expect(telemetry.span("process job").events[0]?.attributes).toEqual({ "task.log.level": "info", ...expected });
  });

  test("tells the size of binary data inside of other fields, and reads no more than it shows", async () => {
    const telemetry = startTelemetry();
    let read = 0;
    const rows = new Proxy(Array(500_000).fill("row"), {
      get: (target, key) => {
        read += 1;
        return Reflect.get(target, key);
      },
    });
    await runAttempt({ funcName: "job" }, () => {
      taskLog("saved", { file: { content: Buffer.alloc(16), name: "a" }, page: { rows } });
    });
    const { file, page } = telemetry.span("process job").events[0]?.attributes ?? {};
    expect(file).toBe('{"content":"[16 bytes]","name":"a"}');
    expect(String(page)).toMatch(/^{"rows":\["row","row",.*more characters\)$/);
    expect(read).toBeLessThan(20_000);
  });

  test("holds 64 fields, keys of 128 characters and 32 KB, and counts what is left out", async () => {
    const telemetry = startTelemetry();
    const many = Object.fromEntries(Array.from({ length: 70 }, (_, n) => [`k${n}`, n]));
    const long = { ["k".repeat(5_000_000)]: 1, list: Array.from({ length: 1_000 }, () => "x".repeat(9_000)), after: 1 };
    await runAttempt(job, () => {
      taskLog("many", many);
      taskLog("long", long);
    });
    const [first, second] = telemetry.span("process job").events.map((event) => event.attributes ?? {});
    expect(Object.keys(first ?? {})).toEqual([
      "task.log.level",
      ...Object.keys(many).slice(0, 64),
      "task.log.truncated",
    ]);
    expect(first?.["task.log.truncated"]).toBe(6);
    expect(Object.keys(second ?? {})).toEqual(["task.log.level", "k".repeat(128), "list", "task.log.truncated"]);
    expect(second?.["task.log.truncated"]).toBe(3);
    expect(String(second?.list).length).toBeLessThan(33_000);
  });

  test("reads no more than it shows, however much there is", async () => {
    const telemetry = startTelemetry();
    let read = 0;
    class Endless<K, V> extends Map<K, V> {
      override *[Symbol.iterator](): MapIterator<[K, V]> {
        for (;;) {
          read += 1;
          yield [undefined as K, undefined as V];
        }
      }
    }
    const get = (_: object, key: string | symbol): unknown => {
      read += 1;
      return key === "length" ? Number.POSITIVE_INFINITY : "x";
    };
    const fields = {
      endless: new Endless(),
      proxy: new Proxy([], { get }),
      map: new Map(Array.from({ length: 100_000 }, (_, n) => [n, n])),
      set: new Set(Array.from({ length: 100_000 }, (_, n) => `entry ${n}`)),
      digits: 10n ** 100_000n,
      json: { toJSON: () => ({ rows: Array(100_000).fill("x") }) },
    };
    await runAttempt(job, () => taskLog("big", fields));
    const attributes = telemetry.span("process job").events[0]?.attributes ?? {};
    expect(attributes.digits).toBe("[a bigint of more than 100 digits]");
    expect(attributes.map).toMatch(/^{"0":0,"1":1,/);
    expect(JSON.stringify(attributes).length).toBeLessThan(40_000);
    expect(read).toBeLessThan(3_000);
  });

  test("does not let a field take the place of the level", async () => {
    const telemetry = startTelemetry();
    await runAttempt(job, () => taskLog("line", { "task.log.level": "fake", level: "warn" }));
    expect(telemetry.span("process job").events[0]?.attributes).toEqual({ "task.log.level": "warn" });
  });
});

describe("taskLog as a log record", () => {
  test.each(["record", "both"] as const)("with logs: %s carries severity, fields and the task", async (logs) => {
    const telemetry = startTelemetry();
    const { records, loggerProvider } = collectRecords();
    await runAttempt({ ...job, attempt: 1, logs, loggerProvider }, () =>
      taskLog("low stock", { level: "warn", left: 2 }),
    );
    const span = telemetry.span("process job");
    expect(records).toMatchObject([
      {
        ...{ body: "low stock", severityNumber: 13, severityText: "WARN" },
        attributes: { left: 2, "task.id": "id-1", "task.name": "job", "task.attempt": 1, "task.tag.plan": "pro" },
      },
    ]);
    expect(trace.getSpanContext(records[0]?.context ?? never())).toEqual(span.spanContext());
    expect(span.events.length).toBe(logs === "both" ? 1 : 0);
  });

  test("is not sent by default", async () => {
    const { records, loggerProvider } = collectRecords();
    await runAttempt({ ...job, loggerProvider }, () => taskLog("line"));
    expect(records).toEqual([]);
  });

  test("goes on after the events of a span are full", async () => {
    startTelemetry();
    const { records, loggerProvider } = collectRecords();
    await runAttempt({ ...job, logs: "both", loggerProvider }, () => {
      for (let line = 0; line < 130; line += 1) taskLog(`line ${line}`);
    });
    expect(records.length).toBe(130);
  });

  test("does not let a field take the place of the task's id", async () => {
    const { records, loggerProvider } = collectRecords();
    await runAttempt({ ...job, logs: "record", loggerProvider }, () => taskLog("line", { "task.id": "fake" }));
    expect(records[0]?.attributes["task.id"]).toBe("id-1");
  });
});

describe("onLog", () => {
  test("receives every line with its level, its fields as they were, and the task", async () => {
    const lines: TaskLogLine[] = [];
    const cause = new Error("why");
    const tasks = createTasks({ onLog: (line) => lines.push(line) });
    const task = tasks.task("shop", () => taskLog("order failed", { level: "warning", cause }));
    const id = await tasks.addTask(task);
    await tasks.idle();
    expect(lines).toEqual([
      { level: "warn", message: "order failed", fields: { cause }, context: expect.objectContaining({ taskId: id }) },
    ]);
    expect(lines[0]?.fields.cause).toBe(cause);
  });

  test("is called when no span records", async () => {
    startTelemetry({ sampler: new AlwaysOffSampler() });
    const onLog = vi.fn();
    await runAttempt({ ...job, onLog }, () => taskLog("line"));
    expect(onLog).toHaveBeenCalledOnce();
  });
});

describe("exceptions", () => {
  test.each([
    ["", 1, 0],
    ["logs", 0, 1],
    ["logs/dup", 1, 1],
    ["http, Logs", 0, 1],
    ["LOGS/DUP,logs", 1, 1],
    ["log", 1, 0],
  ])("with OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN=%j: %i event, %i record", async (value, events, count) => {
    vi.stubEnv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", value);
    const telemetry = startTelemetry();
    const { records, loggerProvider } = collectRecords();
    const error = new RangeError("boom");
    await expect(runAttempt({ ...job, loggerProvider }, () => Promise.reject(error))).rejects.toBe(error);
    vi.unstubAllEnvs();
    expect([telemetry.span("process job").events.length, records.length]).toEqual([events, count]);
    const exception = { "exception.type": "RangeError", "exception.message": "boom", "task.id": "id-1" };
    if (count > 0) expect(records[0]).toMatchObject({ severityText: "ERROR", attributes: exception });
  });
});

test("the record of an exception has the time at which the attempt failed, however long its hooks took", async () => {
  vi.stubEnv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "logs/dup");
  onTestFinished(() => void vi.unstubAllEnvs());
  const telemetry = startTelemetry();
  const logs = await startLogs();
  const tasks = createTasks({ onFailure: () => new Promise((resolve) => setTimeout(resolve, 20)) });
  const task = tasks.task("job", () => Promise.reject(new Error("boom")));
  await tasks.addTask(task);
  await tasks.idle();
  const { events, endTime } = telemetry.span("process job");
  const times = [events[0]?.time, logs.getFinishedLogRecords()[0]?.hrTime];
  expect(times).toEqual([endTime, endTime]);
});

describe("taskLogFields", () => {
  test("are empty where nothing is active", () => {
    expect(taskLogFields()).toEqual({});
  });

  test("tie a line to its span and its task", async () => {
    const telemetry = startTelemetry();
    const fields = await runAttempt(job, taskLogFields);
    const { traceId, spanId } = telemetry.span("process job").spanContext();
    expect(fields).toEqual({
      ...{ trace_id: traceId, span_id: spanId, trace_flags: "01" },
      ...{ task_id: "id-1", task_name: "job", task_attempt: 0, task_tags: { plan: "pro" } },
    });
  });

  test("hold the task alone where there is no SDK", async () => {
    expect(Object.keys(await runAttempt(job, taskLogFields))).toEqual([
      ...["task_id", "task_name", "task_attempt", "task_tags"],
    ]);
    expect(getTaskContext()).toBeUndefined();
  });
});

function withSpan<T>(span: ReturnType<typeof trace.wrapSpanContext>, run: () => T): T {
  return context.with(trace.setSpan(context.active(), span), run);
}

function never(): never {
  throw new Error("no record");
}
