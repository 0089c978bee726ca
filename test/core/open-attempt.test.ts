import { AsyncLocalStorage } from "node:async_hooks";
import { SpanStatusCode, trace } from "@opentelemetry/api";
import {
  type AttemptInfo,
  type Carrier,
  enqueueTask,
  getTaskContext,
  isTaskConfigError,
  isTaskTimeoutError,
  openAttempt,
  type TaskOutcome,
  taskLog,
} from "otel-taskflow";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { startTelemetry } from "../support/telemetry.js";

test("an opened attempt is entered in parts, and is one span", async () => {
  const telemetry = startTelemetry();
  const attempt = openAttempt({ funcName: "job", taskId: "7", attempt: 2, tags: { plan: "pro" } });
  const parts = [attempt.run(getTaskContext), await attempt.run(async () => getTaskContext())];
  attempt.run(() => taskLog("half done"));
  expect(telemetry.named("process job")).toHaveLength(0);
  attempt.end("success");
  expect(parts).toEqual([attempt.context, attempt.context]);
  expect(attempt.context).toMatchObject({ taskId: "7", funcName: "job", attempt: 2, tags: { plan: "pro" } });
  const span = telemetry.span("process job");
  expect(span.attributes).toMatchObject({ "task.id": "7", "task.attempt": 2, "task.outcome": "success" });
  expect(span.events.map(({ name }) => name)).toEqual(["half done"]);
});

test("what is started in a part of it is its span's child, and nothing outside of it", () => {
  const telemetry = startTelemetry();
  const attempt = openAttempt({ funcName: "job" });
  const tracer = trace.getTracer("test");
  attempt.run(() => tracer.startSpan("inside").end());
  tracer.startSpan("outside").end();
  attempt.end("success");
  expect(telemetry.span("inside").parentSpanContext?.spanId).toBe(telemetry.span("process job").spanContext().spanId);
  expect(telemetry.span("outside").parentSpanContext).toBeUndefined();
  expect(getTaskContext()).toBeUndefined();
});

test("it goes on in the trace of its carrier", async () => {
  const telemetry = startTelemetry();
  let carrier: Carrier = {};
  await enqueueTask({ funcName: "job", taskId: "7", tags: { plan: "pro" } }, (made) => {
    carrier = made;
  });
  const attempt = openAttempt({ carrier });
  attempt.end("success");
  expect(attempt.context).toMatchObject({ taskId: "7", funcName: "job", tags: { plan: "pro" } });
  expect(telemetry.span("process job").parentSpanContext?.spanId).toBe(
    telemetry.span("enqueue job").spanContext().spanId,
  );
});

describe("an end", () => {
  test.each<[TaskOutcome, SpanStatusCode]>([
    ["success", SpanStatusCode.UNSET],
    ["retry", SpanStatusCode.ERROR],
    ["failure", SpanStatusCode.ERROR],
    ["error", SpanStatusCode.ERROR],
    ["cancelled", SpanStatusCode.UNSET],
    ["deferred", SpanStatusCode.UNSET],
  ])("%s is the outcome that the span tells", (outcome, code) => {
    const telemetry = startTelemetry();
    openAttempt({ funcName: "job" }).end(outcome, new RangeError("no"));
    const { attributes, status } = telemetry.span("process job");
    const failed = code === SpanStatusCode.ERROR ? { "error.type": "RangeError" } : {};
    expect(attributes).toMatchObject({ "task.outcome": outcome, ...failed });
    expect(status.code).toBe(code);
  });

  test("counts once: what comes after the first changes nothing", () => {
    const telemetry = startTelemetry();
    const attempt = openAttempt({ funcName: "job" });
    attempt.end("success");
    attempt.end("failure", new Error("late"));
    attempt.run(() => taskLog("late"));
    expect(telemetry.span("process job").attributes).toMatchObject({ "task.outcome": "success" });
    expect(attempt.run(getTaskContext)).toBe(attempt.context);
  });

  test("that is none is refused, and the attempt stays open", () => {
    const telemetry = startTelemetry();
    const attempt = openAttempt({ funcName: "job" });
    expect(() => attempt.end("done" as TaskOutcome)).toThrow(/^end\(\): expected one of success, retry, .*a string/);
    attempt.end("success");
    expect(telemetry.span("process job").attributes["task.outcome"]).toBe("success");
  });

  test("comes by itself when its time is over", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const telemetry = startTelemetry();
    const attempt = openAttempt({ funcName: "job", timeout: 1_000, maxAttempts: 1 });
    await vi.advanceTimersByTimeAsync(1_000);
    attempt.end("success");
    expect(isTaskTimeoutError(attempt.context.signal.reason)).toBe(true);
    expect(telemetry.span("process job").attributes["task.outcome"]).toBe("failure");
  });

  test("comes by itself when its signal aborts", () => {
    const telemetry = startTelemetry();
    const stop = new AbortController();
    const attempt = openAttempt({ funcName: "job", signal: stop.signal });
    stop.abort();
    attempt.end("success");
    expect(telemetry.span("process job").attributes["task.outcome"]).toBe("cancelled");
  });
});

test("a part of it has what its caller keeps in an AsyncLocalStorage, and passes on what is thrown", () => {
  startTelemetry();
  const storage = new AsyncLocalStorage<string>();
  const attempt = openAttempt({ funcName: "job" });
  expect(storage.run("caller", () => attempt.run(() => storage.getStore()))).toBe("caller");
  const thrown = new Error("mine");
  expect(() =>
    attempt.run(() => {
      throw thrown;
    }),
  ).toThrow(thrown);
});

test("it works without an SDK", () => {
  const attempt = openAttempt({ funcName: "job", tags: { plan: "pro" } });
  expect(attempt.run(() => getTaskContext()?.tags)).toEqual({ plan: "pro" });
  expect(getTaskContext()).toBeUndefined();
  attempt.end("success");
});

test.each<[string, unknown, RegExp]>([
  ["no name", {}, /^funcName/],
  ["an unknown option", { funcName: "job", retries: 1 }, /^openAttempt\(\).*retries/],
  ["nothing", undefined, /^openAttempt\(\): its first argument/],
])("%s is refused at once", (_, info, message) => {
  const open = (): unknown => openAttempt(info as AttemptInfo);
  expect(open).toThrow(message);
  expect(open).toThrow(expect.toSatisfy(isTaskConfigError));
});
