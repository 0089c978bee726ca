import { context, propagation, ROOT_CONTEXT, type TextMapPropagator, type TracerProvider } from "@opentelemetry/api";
import { suppressTracing } from "@opentelemetry/core";
import { type Carrier, continueAttempt, enqueueTask, getTaskContext, runAttempt, TaskManager } from "otel-taskflow";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { startLogs } from "../support/logs.js";
import { createTasks } from "../support/tasks.js";
import { recordSpans, startTelemetry, stopTelemetry, useContextManager } from "../support/telemetry.js";

const outgoing = (): string => {
  const headers: { baggage?: string } = {};
  propagation.inject(context.active(), headers);
  return headers.baggage ?? "";
};

describe("the times of an attempt's span", () => {
  test("are the clock's under fake timers, hooks apart", async () => {
    const telemetry = recordSpans();
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    const tasks = new TaskManager({ tracerProvider: telemetry.provider, onSuccess: () => sleep(5_000) });
    await tasks.addTask(tasks.task("hooked", () => sleep(1_000)));
    await vi.advanceTimersByTimeAsync(7_000);
    expect(telemetry.span("process hooked").duration[0]).toBe(1);
  });

  test("are the clock's under fake timers where no hook is, although the provider's own clock is the machine's", async () => {
    const telemetry = recordSpans();
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    const done = runAttempt({ funcName: "bare", tracerProvider: telemetry.provider }, () => sleep(1_000));
    await vi.advanceTimersByTimeAsync(1_000);
    await done;
    expect(telemetry.span("process bare").duration).toEqual([1, 0]);
  });

  test("are none, or pairs of epoch time: no bare number that a provider may take for another unit", async () => {
    const times: unknown[] = [];
    const span = {
      spanContext: () => ({ traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 }),
      ...{ setAttribute: () => span, setAttributes: () => span, setStatus: () => span, isRecording: () => true },
      addEvent: (_name: string, _attributes: object, time?: unknown) => void times.push(time),
      end: (time?: unknown) => void times.push(time),
    };
    const startSpan = (_name: string, { startTime }: { startTime?: unknown }): object => {
      times.push(startTime);
      return span;
    };
    const tracerProvider = { getTracer: () => ({ startSpan }) } as unknown as TracerProvider;
    const fail = (): never => {
      throw new Error("no");
    };
    await runAttempt({ funcName: "bare", tracerProvider }, fail).catch(() => {});
    expect(times.splice(0)).toEqual([undefined, undefined, undefined]);
    const tasks = createTasks({ tracerProvider, onFailure: () => {} });
    await tasks.addTask(tasks.task("hooked", fail));
    await tasks.idle();
    const now = expect.closeTo(Date.now() / 1000, -1);
    const pair = [now, expect.any(Number)];
    expect(times).toEqual([undefined, undefined, pair, pair, pair]);
  });
});

test("a propagator that looks at the active context finds the one it is given", async () => {
  startTelemetry();
  const picky: TextMapPropagator = {
    inject: (within, carrier, setter) => setter.set(carrier, "same", String(within === context.active())),
    extract: (within) => within,
    fields: () => [],
  };
  propagation.disable();
  propagation.setGlobalPropagator(picky);
  const carriers: Carrier[] = [];
  for (const relation of ["parent", "none"] as const) {
    await enqueueTask({ funcName: "job", relation, tags: { plan: "pro" } }, (carrier) => carriers.push(carrier));
  }
  expect(carriers.map(({ same }) => same)).toEqual(["true", "true"]);
});

describe("a task added where tracing is suppressed", () => {
  test.each(["parent", "link", "none"] as const)("is recorded when it runs, with relation %s", async (relation) => {
    const telemetry = startTelemetry();
    const tasks = createTasks({ relation });
    const tenant = propagation.createBaggage({ tenant: { value: "t" } });
    const within = suppressTracing(propagation.setBaggage(ROOT_CONTEXT, tenant));
    let baggage = "";
    const task = tasks.task("job", () => {
      baggage = outgoing();
    });
    await context.with(within, () => tasks.addTask(task, [], { tags: { plan: "pro" } }));
    await tasks.idle();
    expect(telemetry.spans().map(({ name, parentSpanContext }) => [name, parentSpanContext])).toEqual([
      ["process job", undefined],
    ]);
    expect(baggage).toBe("task.tag.plan=pro");
  });
});

describe("the baggage of a task", () => {
  const foreign = (count: number): string => Array.from({ length: count }, (_, at) => `k${at}=v`).join();
  const baggageOf = async (inbound: string, tags: Record<string, string>): Promise<string> => {
    startTelemetry();
    const within = propagation.extract(ROOT_CONTEXT, { baggage: inbound });
    const carrier = await context.with(within, () => enqueueTask({ funcName: "job", tags }, (one) => one));
    return runAttempt({ carrier, funcName: "job" }, outgoing);
  };

  test.each([0, 180])("has its own tags first, before %i foreign entries", async (count) => {
    expect(await baggageOf(foreign(count), { plan: "pro" })).toMatch(/^task\.tag\.plan=pro(,k0=v|$)/);
  });

  test("has 256 characters of a value, and 2,048 bytes of all", async () => {
    expect(await baggageOf("", { long: "x".repeat(1_000) })).toBe(`task.tag.long=${"x".repeat(256)}`);
    const many = Object.fromEntries(Array.from({ length: 16 }, (_, at) => [`t${at}`, "é".repeat(256)]));
    const sent = await baggageOf("k=v", { ...many, t15: "short" });
    expect(sent.split(",").map((entry) => entry.split("=")[0])).toEqual(["task.tag.t0", "task.tag.t15", "k"]);
  });

  test("holds own properties only, and its spans do", async () => {
    const telemetry = startTelemetry();
    Object.defineProperty(Object.prototype, "polluted", {
      value: "x",
      writable: true,
      enumerable: true,
      configurable: true,
    });
    onTestFinished(() => void Reflect.deleteProperty(Object.prototype, "polluted"));
    const carrier = await enqueueTask({ funcName: "job", tags: { a: "b" } }, (one) => ({ ...one }));
    expect(await runAttempt({ carrier, funcName: "job" }, outgoing)).toBe("task.tag.a=b");
    expect(telemetry.span("process job").attributes).not.toHaveProperty(["task.tag.polluted"]);
  });

  test("of a continued attempt has no entry that is not the task's", async () => {
    startTelemetry();
    const baggage = "task.tag.plan=enterprise,task.tag.own=yes,task.id=forged,tenant=t";
    const entry = '{"v":1,"id":"i","name":"job","tags":{"own":"yes","home":"stays"}}';
    expect(await continueAttempt({ carrier: { baggage, "otel-taskflow": entry } }, outgoing)).toBe(
      "task.tag.own=yes,tenant=t",
    );
    expect(await continueAttempt({ carrier: { baggage } }, outgoing)).toBe("tenant=t");
  });
});

describe("what is endless or huge", () => {
  const endless = new Proxy([], { get: (_, name) => (name === "length" ? Number.POSITIVE_INFINITY : "plan") });

  test("is refused as a list of tags that travel", () => {
    expect(() => new TaskManager({ baggage: endless })).toThrow(/baggage: expected .* at most 1000 tag keys/);
    expect(() => new TaskManager({ baggage: Array(1_000).fill("plan") })).not.toThrow();
  });

  test.each([
    ["a buffer", Buffer.alloc(50_000_000)],
    ["an endless list", endless],
    ["a text as an object", Object("x".repeat(1_000_000))],
  ])("is no carrier: %s", async (_, carrier) => {
    expect(await runAttempt({ funcName: "job", carrier: carrier as Carrier }, () => "ran")).toBe("ran");
  });

  test("reaches no queue from a propagator, and the task's own entry does", async () => {
    useContextManager();
    onTestFinished(stopTelemetry);
    const inject = (_within: unknown, carrier: Carrier): void => {
      for (let at = 0; at < 1_000; at += 1) carrier[`k${at}`] = "x".repeat(1_000);
    };
    propagation.setGlobalPropagator({ inject, extract: (one: never) => one, fields: () => [] } as never);
    const tags = Object.fromEntries(Array.from({ length: 16 }, (_, at) => [`t${at}`, "\u0001".repeat(1_024)]));
    const carrier = await enqueueTask({ funcName: "job", tags }, (one) => one);
    expect(JSON.stringify(carrier).length).toBeLessThan(400_000);
    expect(await runAttempt({ carrier }, () => getTaskContext()?.tags)).toEqual(tags);
  });
});

describe("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", () => {
  test.each([
    ["logs", 0],
    ["logs/dup", 1],
  ])("%s is honoured wherever an exception is told", async (choice, events) => {
    vi.stubEnv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", choice);
    onTestFinished(() => void vi.unstubAllEnvs());
    const telemetry = startTelemetry();
    const logs = await startLogs();
    const fail = (): never => {
      throw new RangeError("no");
    };
    for (const system of [undefined, "sqs"]) {
      const info = { funcName: "job", tags: { plan: "pro" }, system };
      await enqueueTask(info, fail).catch(() => {});
      await runAttempt({ ...info, maxAttempts: 2 }, fail).catch(() => {});
    }
    const entry = '{"v":1,"id":"i","name":"job","tags":{"plan":"pro"}}';
    await continueAttempt({ carrier: { "otel-taskflow": entry } }, fail).catch(() => {});
    expect(logs.getFinishedLogRecords().map((record) => [record.eventName, record.severityText])).toEqual([
      ["task.enqueue.exception", "WARN"],
      ["task.process.exception", "WARN"],
      ["messaging.send.exception", "WARN"],
      ["messaging.process.exception", "WARN"],
      ["task.continue.exception", "ERROR"],
    ]);
    expect(logs.getFinishedLogRecords().map(({ spanContext }) => spanContext?.spanId)).toEqual(
      telemetry.spans().map((span) => span.spanContext().spanId),
    );
    expect(telemetry.spans().map((span) => span.events.length)).toEqual([events, events, events, events, events]);
  });
});
