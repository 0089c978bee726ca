import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import {
  type Carrier,
  type ContinueInfo,
  carryAttempt,
  continueAttempt,
  enqueueTask,
  getTaskContext,
  runAttempt,
  type TaskContext,
  taskLog,
} from "otel-taskflow";
import { describe, expect, expectTypeOf, test } from "vitest";
import { startMetrics } from "../support/metrics.js";
import { deferred } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

const info = { funcName: "resize", taskId: "t-1", attempt: 2, maxAttempts: 4, tags: { plan: "pro" } };

/** What a running attempt hands to a thread: through a message, as far as that is possible in one process. */
async function carried(attempt = info): Promise<Carrier> {
  return JSON.parse(JSON.stringify(await runAttempt(attempt, carryAttempt)));
}

function elsewhere<T>(more: ContinueInfo, fn: () => T | Promise<T>): Promise<T> {
  return context.with(ROOT_CONTEXT, () => continueAttempt(more, fn));
}

describe.each([
  ["with an SDK", () => void startTelemetry()],
  ["with nothing registered", () => {}],
])("continueAttempt(), %s", (_title, start) => {
  test("tells the same task, attempt and tags, however deep and late", async () => {
    start();
    const seen: (TaskContext | undefined)[] = [];
    await elsewhere({ carrier: await carried() }, async () => {
      seen.push(getTaskContext());
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(getTaskContext());
    });
    expect(seen[0]).toMatchObject({ taskId: "t-1", funcName: "resize", attempt: 2, maxAttempts: 4 });
    expect(seen[0]?.tags).toEqual({ plan: "pro" });
    expect(seen[1]).toBe(seen[0]);
    expect([Object.isFrozen(seen[0]), seen[0]?.signal.aborted, getTaskContext()]).toEqual([true, false, undefined]);
  });

  test("tells the first attempt apart from an unknown one", async () => {
    start();
    const carrier = await carried({ ...info, attempt: 0 });
    expect(await elsewhere({ carrier }, () => getTaskContext()?.attempt)).toBe(0);
  });

  test("resolves and rejects as the function does", async () => {
    start();
    const carrier = await carried();
    const error = Object.freeze(new RangeError("too large"));
    await expect(elsewhere({ carrier }, async () => 42)).resolves.toBe(42);
    await expect(elsewhere({ carrier }, () => Promise.reject(error))).rejects.toBe(error);
    await expect(elsewhere({ carrier }, () => Promise.reject(undefined))).rejects.toBe(undefined);
  });

  test("runs without a task what was carried from outside one, inside another task too", async () => {
    start();
    const carrier = carryAttempt();
    expect(await runAttempt(info, () => continueAttempt({ carrier }, getTaskContext))).toBeUndefined();
  });

  test("runs without a task what was carried from outside one", async () => {
    start();
    const carrier = carryAttempt();
    expect(await elsewhere({ carrier }, () => [getTaskContext(), "ran"])).toEqual([undefined, "ran"]);
  });

  test("writes log lines to the other side's own onLog", async () => {
    start();
    const lines: unknown[] = [];
    const onLog: ContinueInfo["onLog"] = ({ message, context }) => lines.push([message, context.taskId]);
    await elsewhere({ carrier: await carried(), onLog }, () => taskLog("resized"));
    expect(lines).toEqual([["resized", "t-1"]]);
  });
});

describe("the telemetry of continueAttempt()", () => {
  test("is an INTERNAL span under what was active in the attempt, which takes the log lines", async () => {
    const telemetry = startTelemetry();
    const tracer = telemetry.provider.getTracer("test");
    const carrier = await runAttempt(info, () =>
      tracer.startActiveSpan("prepare", (span) => {
        span.end();
        return carryAttempt();
      }),
    );
    await elsewhere({ carrier }, () => taskLog("resizing", { width: 640 }));
    const span = telemetry.span("continue resize");
    const prepare = telemetry.span("prepare").spanContext();
    expect(span.spanContext().traceId).toBe(prepare.traceId);
    expect(span.parentSpanContext).toMatchObject({ spanId: prepare.spanId, isRemote: true });
    expect([span.kind, span.status.code]).toEqual([SpanKind.INTERNAL, SpanStatusCode.UNSET]);
    const task = { "task.id": "t-1", "task.name": "resize", "task.attempt": 2, "task.tag.plan": "pro" };
    expect(span.attributes).toEqual(task);
    expect(span.events.map(({ name, attributes }) => [name, attributes?.width])).toEqual([["resizing", 640]]);
  });

  test("is under the attempt's span without a context manager too", async () => {
    const telemetry = startTelemetry({ contextManager: false });
    const carrier = await carried();
    await continueAttempt({ carrier }, () => {});
    const attempt = telemetry.span("process resize").spanContext();
    expect(telemetry.span("continue resize").parentSpanContext).toMatchObject({ spanId: attempt.spanId });
  });

  test("counts no attempt and no task", async () => {
    startTelemetry();
    const carrier = await carried();
    const { collect } = startMetrics();
    await elsewhere({ carrier }, () => {});
    expect([...(await collect()).keys()]).toEqual([]);
  });

  test("shows what the function failed with", async () => {
    const telemetry = startTelemetry();
    const carrier = await carried();
    await elsewhere({ carrier }, () => Promise.reject(new RangeError("too large"))).catch(() => {});
    const { status, attributes, events } = telemetry.span("continue resize");
    expect([status.code, status.message]).toEqual([SpanStatusCode.ERROR, "too large"]);
    expect([attributes["error.type"], attributes["task.outcome"]]).toEqual(["RangeError", undefined]);
    expect(events.map(({ name }) => name)).toEqual(["exception"]);
  });

  test("says how many log lines did not fit", async () => {
    const telemetry = startTelemetry();
    const carrier = await carried();
    await elsewhere({ carrier }, () => {
      for (let line = 0; line < 103; line += 1) taskLog("line");
    });
    expect(telemetry.span("continue resize").attributes["task.log.dropped"]).toBe(3);
  });

  test("is left alone by code that runs on after its end", async () => {
    const telemetry = startTelemetry();
    const diag = collectDiag();
    const gate = deferred();
    const carrier = await carried();
    const late: Promise<void>[] = [];
    await elsewhere({ carrier }, () => {
      late.push(gate.promise.then(() => taskLog("late")));
    });
    gate.resolve();
    await Promise.all(late);
    expect([telemetry.span("continue resize").events, diag]).toEqual([[], []]);
  });

  test("makes what is enqueued there a child of the task", async () => {
    const telemetry = startTelemetry();
    const carrier = await carried();
    await elsewhere({ carrier }, () => enqueueTask({ funcName: "child" }, () => {}));
    const span = telemetry.span("enqueue child");
    expect(span.attributes["task.parent.id"]).toBe("t-1");
    expect(span.parentSpanContext?.spanId).toBe(telemetry.span("continue resize").spanContext().spanId);
  });

  test.each([
    [true, ["task.tag.plan", "tenant"]],
    [false, ["tenant"]],
  ])("takes the attempt's baggage along, with baggage: %s", async (baggage, keys) => {
    startTelemetry();
    const tenant = propagation.createBaggage({ tenant: { value: "t1" } });
    const within = propagation.setBaggage(context.active(), tenant);
    const stored = await context.with(within, () => enqueueTask({ ...info, baggage }, (one) => one));
    const carrier = await runAttempt({ ...info, carrier: stored, baggage }, carryAttempt);
    const seen = await elsewhere({ carrier }, () => propagation.getActiveBaggage()?.getAllEntries() ?? []);
    expect(seen.map(([key]) => key)).toEqual(keys);
  });

  test("keeps the trace of what was carried from outside a task", async () => {
    const telemetry = startTelemetry();
    const tracer = telemetry.provider.getTracer("test");
    const [request, carrier] = tracer.startActiveSpan("request", (span) => [span, carryAttempt()] as const);
    const active = await elsewhere({ carrier }, () => trace.getActiveSpan()?.spanContext().traceId);
    expect(active).toBe(request.spanContext().traceId);
    expect(telemetry.spans()).toEqual([]);
  });
});

describe("continueAttempt()", () => {
  test.each([
    [null, () => {}, /its first argument: expected an object, received null/],
    [{ carrier: {} }, 7, /its second argument: expected a function, received 7/],
    [
      { carrier: {}, logs: "all" },
      () => {},
      /logs: expected "event", "record" or "both", received a string of 3 characters/,
    ],
  ])("refuses %o and %o", async (first, second, message) => {
    await expect(continueAttempt(first as ContinueInfo, second as () => void)).rejects.toThrow(message);
  });

  test.each([undefined, "text", { "otel-taskflow": "{" }, { "otel-taskflow": '{"v":1,"id":7}' }])(
    "runs the function whatever the carrier: %o",
    async (carrier) => {
      collectDiag();
      expect(await continueAttempt({ carrier } as ContinueInfo, () => getTaskContext() ?? "ran")).toBe("ran");
    },
  );

  test("takes an attempt that is no count for the first", async () => {
    const carrier = { "otel-taskflow": '{"v":1,"id":"t","name":"n","attempt":-1.5}' };
    expect(await continueAttempt({ carrier }, () => getTaskContext()?.attempt)).toBe(0);
  });

  test("is typed by the function", () => {
    expectTypeOf(continueAttempt({ carrier: {} }, async () => 1)).resolves.toBeNumber();
    expectTypeOf(carryAttempt()).toEqualTypeOf<Carrier>();
  });
});
