import { context, createContextKey, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import {
  enqueueTask,
  getTaskContext,
  NonRetryableError,
  runAttempt,
  type TaskRelation,
  TaskTimeoutError,
} from "otel-taskflow";
import { describe, expect, test, vi } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry, type TestTelemetry } from "../support/telemetry.js";

/** Runs one task that fails once, inside a request span, and returns every span. */
async function requestWithRetry(relation: TaskRelation, telemetry: TestTelemetry): Promise<ReadableSpan[]> {
  const tasks = createTasks({ relation });
  const flaky = tasks.task({ name: "flaky", retries: 1 }, () => {
    if (getTaskContext()?.attempt === 0) throw new RangeError("not yet");
  });
  const tracer = telemetry.provider.getTracer("test");
  await tracer.startActiveSpan("request", async (request) => {
    const baggage = propagation.createBaggage({ tenant: { value: "t1" } });
    await context.with(propagation.setBaggage(context.active(), baggage), () => tasks.addTask(flaky));
    request.end();
  });
  await tasks.idle();
  return ["request", "enqueue flaky", "process flaky"].flatMap((name) => telemetry.named(name));
}

const spanId = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().spanId;
const traceId = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().traceId;
const KEPT = createContextKey("kept");
const linksOf = (span: ReadableSpan | undefined): unknown =>
  span?.links.map((link) => [link.context.spanId, link.attributes?.["task.link"]]);

describe("the trace of a task", () => {
  test("relation parent: request, enqueue and every attempt are one trace", async () => {
    const spans = await requestWithRetry("parent", startTelemetry());
    const [request, enqueued, first, second] = spans;
    expect(new Set(spans.map(traceId)).size).toBe(1);
    expect(enqueued?.parentSpanContext?.spanId).toBe(spanId(request));
    expect(first?.parentSpanContext?.spanId).toBe(spanId(enqueued));
    expect(second?.parentSpanContext?.spanId).toBe(spanId(enqueued));
    expect([linksOf(first), linksOf(second)]).toEqual([[], [[spanId(first), "previous_attempt"]]]);
  });

  test("relation link: each attempt is a new trace, linked to the enqueue span", async () => {
    const [request, enqueued, first, second] = await requestWithRetry("link", startTelemetry());
    expect(new Set([traceId(request), traceId(first), traceId(second)]).size).toBe(3);
    expect([first?.parentSpanContext, second?.parentSpanContext]).toEqual([undefined, undefined]);
    expect(linksOf(first)).toEqual([[spanId(enqueued), "enqueue"]]);
    expect(linksOf(second)).toEqual([
      [spanId(enqueued), "enqueue"],
      [spanId(first), "previous_attempt"],
    ]);
  });

  test("relation none: each attempt is a new trace, linked to the previous attempt only", async () => {
    const [request, , first, second] = await requestWithRetry("none", startTelemetry());
    expect(new Set([traceId(request), traceId(first), traceId(second)]).size).toBe(3);
    expect([linksOf(first), linksOf(second)]).toEqual([[], [[spanId(first), "previous_attempt"]]]);
  });

  test.each([
    ["parent", "t1"],
    ["link", "t1"],
    ["none", undefined],
  ] as const)("relation %s: the enqueuer's baggage arrives as %s, the task's own always", async (relation, tenant) => {
    startTelemetry();
    const tasks = createTasks({ relation });
    const seen: unknown[] = [];
    const look = tasks.task("look", () => {
      const baggage = propagation.getActiveBaggage();
      seen.push(baggage?.getEntry("tenant")?.value, baggage?.getEntry("task.tag.plan")?.value);
    });
    const request = propagation.createBaggage({ tenant: { value: "t1" } });
    await context.with(propagation.setBaggage(context.active(), request), () =>
      tasks.addTask(look, [], { tags: { plan: "pro" } }),
    );
    await tasks.idle();
    expect(seen).toEqual([tenant, "pro"]);
  });

  test("a task's own relation wins over the manager's", async () => {
    const telemetry = startTelemetry();
    const tasks = createTasks({ relation: "link" });
    const task = tasks.task({ name: "own", relation: "parent" }, () => {});
    await tasks.addTask(task);
    await tasks.idle();
    expect(traceId(telemetry.span("process own"))).toBe(traceId(telemetry.span("enqueue own")));
  });

  test("a task enqueued by a task joins it without a context manager too", async () => {
    const telemetry = startTelemetry({ contextManager: false });
    const tasks = createTasks();
    const child = tasks.task("child", () => {});
    await tasks.addTask(tasks.task("parent", async () => void (await tasks.addTask(child))));
    await tasks.idle();
    expect(telemetry.span("enqueue child").parentSpanContext?.spanId).toBe(spanId(telemetry.span("process parent")));
  });

  test("a task enqueued by a task joins the parent attempt's trace and names it", async () => {
    const telemetry = startTelemetry();
    const tasks = createTasks();
    const child = tasks.task("child", () => {});
    const parent = tasks.task("parent", async () => void (await tasks.addTask(child)));
    const parentId = await tasks.addTask(parent, [], { tags: { plan: "pro" } });
    await tasks.idle();
    const spans = ["enqueue child", "process child"].map((name) => telemetry.span(name));
    expect(spans.map((span) => span.attributes["task.parent.id"])).toEqual([parentId, parentId]);
    expect(spans.map((span) => span.attributes["task.tag.plan"])).toEqual([undefined, undefined]);
    expect(spans[0]?.parentSpanContext?.spanId).toBe(spanId(telemetry.span("process parent")));
  });
});

describe("span attributes", () => {
  test("of enqueue and attempt follow the contract", async () => {
    const telemetry = startTelemetry();
    const tasks = createTasks();
    const task = tasks.task({ name: "send-email", retries: 2 }, function sendEmail() {});
    const id = await tasks.addTask(task, [], { tags: { plan: "pro" } });
    await tasks.idle();
    const common = { "task.id": id, "task.name": "send-email", "task.engine": "memory", "task.tag.plan": "pro" };
    const enqueued = telemetry.span("enqueue send-email");
    const attempt = telemetry.span("process send-email");
    expect([enqueued.kind, enqueued.attributes]).toEqual([SpanKind.PRODUCER, common]);
    expect([attempt.kind, attempt.attributes]).toEqual([
      SpanKind.CONSUMER,
      {
        ...common,
        "task.attempt": 0,
        "task.max_attempts": 3,
        "task.wait.duration": expect.closeTo(0, 0),
        "code.function.name": "sendEmail",
        "task.outcome": "success",
      },
    ]);
    expect(attempt.instrumentationScope).toMatchObject({ name: "otel-taskflow", version: "0.1.0" });
  });

  test("are there at span start, where samplers see them", async () => {
    const seen: unknown[] = [];
    const sampler = {
      shouldSample: (...[, , name, , attributes]: [unknown, unknown, string, unknown, object]) => {
        if (name.startsWith("process")) seen.push(attributes);
        return { decision: 2 };
      },
    };
    startTelemetry({ sampler });
    await runAttempt({ funcName: "job", taskId: "id-1", attempt: 1, maxAttempts: 3, tags: { plan: "pro" } }, () => {});
    expect(seen).toEqual([
      { "task.id": "id-1", "task.name": "job", "task.attempt": 1, "task.max_attempts": 3, "task.tag.plan": "pro" },
    ]);
  });

  test("name the broker where there is a real one", async () => {
    const telemetry = startTelemetry();
    const route = { engine: "sqs", system: "aws_sqs", destination: "emails" };
    const send = (_carrier: unknown, _id: string): { MessageId: string } => ({ MessageId: "m-1" });
    await enqueueTask({ funcName: "job", ...route }, send, { idOf: (sent) => sent.MessageId });
    await runAttempt({ funcName: "job", taskId: "m-1", ...route }, () => {});
    const messaging = { "messaging.system": "aws_sqs", "messaging.destination.name": "emails", "task.engine": "sqs" };
    const ids = { "task.id": "m-1", "messaging.message.id": "m-1" };
    expect(telemetry.span("enqueue job").attributes).toMatchObject({
      ...{ ...messaging, ...ids, "messaging.operation.name": "enqueue", "messaging.operation.type": "send" },
    });
    expect(telemetry.span("process job").attributes).toMatchObject({
      ...{ ...messaging, ...ids, "messaging.operation.name": "process", "messaging.operation.type": "process" },
    });
  });

  test("end where isStored throws, and the task counts as stored", async () => {
    const telemetry = startTelemetry();
    const isStored = (): never => {
      throw new Error("no such field");
    };
    expect(await enqueueTask({ funcName: "job" }, () => "sent", { isStored })).toBe("sent");
    expect(telemetry.span("enqueue job").status.code).toBe(SpanStatusCode.UNSET);
  });

  test("measure the wait from the time an attempt was due", async () => {
    vi.useFakeTimers({ now: 1_000_000 });
    const telemetry = startTelemetry();
    const tasks = createTasks();
    const task = tasks.task({ name: "busy", retries: 1, delay: 2000 }, () => {
      throw new Error("again");
    });
    await tasks.addTask(task, [], { delay: 5000 });
    vi.setSystemTime(1_006_500); // the process was busy when the task became due
    await vi.advanceTimersByTimeAsync(60_000);
    vi.useRealTimers();
    const waits = telemetry.named("process busy").map((span) => span.attributes["task.wait.duration"]);
    expect(waits).toEqual([expect.closeTo(6.5, 2), expect.closeTo(0, 2)]);
  });

  test("say that an attempt was delivered again", async () => {
    const telemetry = startTelemetry();
    const told = await runAttempt({ funcName: "job", redelivered: true }, () => getTaskContext()?.redelivered);
    expect([told, telemetry.span("process job").attributes["task.redelivered"]]).toEqual([true, true]);
  });
});

describe("the outcome of an attempt", () => {
  test("retry, then failure: status, error type, delay and one exception event each", async () => {
    const telemetry = startTelemetry();
    const tasks = createTasks();
    const task = tasks.task({ name: "doomed", retries: 1, delay: 10 }, () => {
      throw new RangeError("no such page");
    });
    await tasks.addTask(task);
    await tasks.idle();
    const [first, second] = telemetry.named("process doomed");
    expect(first?.attributes).toMatchObject({ "task.outcome": "retry", "task.retry.delay": 0.01 });
    expect(second?.attributes).toMatchObject({ "task.outcome": "failure", "error.type": "RangeError" });
    expect(second?.attributes).not.toHaveProperty("task.retry.delay");
    for (const span of [first, second]) {
      expect(span?.status).toEqual({ code: SpanStatusCode.ERROR, message: "no such page" });
      expect(span?.events.map((event) => [event.name, event.attributes?.["exception.type"]])).toEqual([
        ["exception", "RangeError"],
      ]);
    }
  });

  test("success leaves the status unset", async () => {
    const telemetry = startTelemetry();
    await runAttempt({ funcName: "job" }, () => "result");
    const span = telemetry.span("process job");
    expect([span.status, span.attributes["task.outcome"]]).toEqual([{ code: SpanStatusCode.UNSET }, "success"]);
    expect(JSON.stringify(span.attributes)).not.toContain("result");
  });

  test.each([
    ["retry", { attempt: 0, maxAttempts: 2 }, new Error("x")],
    ["failure", { attempt: 1, maxAttempts: 2 }, new Error("x")],
    ["failure", { attempt: 0, maxAttempts: 2 }, new NonRetryableError("x")],
    ["error", { attempt: 0 }, new Error("x")],
    ["failure", { attempt: 0 }, new NonRetryableError("x")],
  ])("is %s with %o", async (outcome, info, error) => {
    const telemetry = startTelemetry();
    const fail = (): never => {
      throw error;
    };
    await expect(runAttempt({ funcName: "job", ...info }, fail)).rejects.toBe(error);
    expect(telemetry.span("process job").attributes["task.outcome"]).toBe(outcome);
  });

  test("deferred: an engine's control flow is no error", async () => {
    const telemetry = startTelemetry();
    const deferral = new Error("moved to delayed");
    const attempt = runAttempt({ funcName: "job", deferIf: (error) => error === deferral }, () =>
      Promise.reject(deferral),
    );
    await expect(attempt).rejects.toBe(deferral);
    const span = telemetry.span("process job");
    expect([span.attributes["task.outcome"], span.status.code, span.events]).toEqual([
      ...["deferred", SpanStatusCode.UNSET, []],
    ]);
  });

  test("a timeout fails with a TaskTimeoutError", async () => {
    const telemetry = startTelemetry();
    const attempt = runAttempt({ funcName: "job", timeout: 5, maxAttempts: 2 }, () => new Promise(() => {}));
    await expect(attempt).rejects.toBeInstanceOf(TaskTimeoutError);
    const span = telemetry.span("process job");
    expect(span.attributes).toMatchObject({ "task.outcome": "retry", "error.type": "TaskTimeoutError" });
  });

  test("a send that starts when it is awaited, as query builders do, is inside the enqueue span", async () => {
    const telemetry = startTelemetry();
    const then = (done: (value: string) => void): void => {
      telemetry.provider.getTracer("db").startSpan("INSERT").end();
      done("stored");
    };
    const lazy: unknown = { then };
    expect(await enqueueTask({ funcName: "job" }, () => lazy as Promise<string>)).toBe("stored");
    expect(telemetry.span("INSERT").parentSpanContext?.spanId).toBe(spanId(telemetry.span("enqueue job")));
  });

  test("an enqueue that fails is an error of the enqueue span, and the error is the broker's own", async () => {
    const telemetry = startTelemetry();
    const down = new TypeError("broker down");
    await expect(enqueueTask({ funcName: "job" }, () => Promise.reject(down))).rejects.toBe(down);
    const span = telemetry.span("enqueue job");
    expect([span.status.code, span.attributes["error.type"], span.events.length]).toEqual([
      ...[SpanStatusCode.ERROR, "TypeError", 1],
    ]);
  });
});

describe("runAttempt", () => {
  test("continues what enqueueTask started, through JSON", async () => {
    const telemetry = startTelemetry();
    let wire = "";
    const info = { funcName: "job", tags: { plan: "pro" }, maxAttempts: 3 };
    await enqueueTask(info, (carrier, taskId) => {
      wire = JSON.stringify({ carrier, taskId });
    });
    const { carrier, taskId } = JSON.parse(wire);
    const seen = await runAttempt({ funcName: "job", carrier, attempt: 1 }, getTaskContext);
    expect(seen).toEqual({
      taskId,
      funcName: "job",
      attempt: 1,
      redelivered: false,
      maxAttempts: 3,
      tags: { plan: "pro" },
    });
    expect(telemetry.span("process job").parentSpanContext?.spanId).toBe(spanId(telemetry.span("enqueue job")));
  });

  test("takes the name from the carrier where it is given none", async () => {
    let carrier = {};
    await enqueueTask({ funcName: "named" }, (sent) => {
      carrier = sent;
    });
    expect(await runAttempt({ carrier }, () => getTaskContext()?.funcName)).toBe("named");
    await expect(runAttempt({}, () => {})).rejects.toThrow(
      /funcName: expected a well-formed string of 1 to 512 characters/,
    );
  });

  test("runs under the function's name when the carrier's is damaged", async () => {
    const carrier = { "otel-taskflow": JSON.stringify({ v: 1, name: "x".repeat(600), id: "y".repeat(600) }) };
    const named = (): unknown => getTaskContext();
    expect(await runAttempt({ carrier }, named)).toMatchObject({
      funcName: "named",
      taskId: expect.stringMatching(/^.{36}$/),
    });
  });

  test.each([
    [{ signal: {} }, /signal/],
    [{ dueAt: "tomorrow" }, /dueAt: expected a number from 0, received a string of 8 characters/],
    [{ deferIf: true }, /deferIf/],
    [{ attempt: -1 }, /attempt/],
  ])("refuses %o at once", async (info, message) => {
    const telemetry = startTelemetry();
    const fn = vi.fn();
    await expect(runAttempt({ funcName: "job", ...(info as object) }, fn)).rejects.toThrow(message);
    expect([fn.mock.calls, telemetry.spans()]).toEqual([[], []]);
  });

  test("has its own trace when a carrier brings none, whatever span is active in the worker", async () => {
    const telemetry = startTelemetry();
    await telemetry.provider.getTracer("test").startActiveSpan("poll", async (poll) => {
      await runAttempt({ funcName: "job", carrier: {} }, () => {});
      poll.end();
    });
    expect(telemetry.span("process job").parentSpanContext).toBeUndefined();
  });

  test("without a carrier starts a trace of its own, linked to the active span", async () => {
    const telemetry = startTelemetry();
    const seen = await telemetry.provider.getTracer("test").startActiveSpan("cron", async (cron) => {
      const tenant = propagation.createBaggage({ tenant: { value: "t1" } });
      const around = propagation.setBaggage(context.active(), tenant).setValue(KEPT, "kept");
      const look = (): unknown[] => [propagation.getActiveBaggage(), context.active().getValue(KEPT)];
      const seen = await context.with(around, () => runAttempt({ funcName: "job" }, look));
      cron.end();
      return seen;
    });
    const job = telemetry.span("process job");
    const cron = telemetry.span("cron");
    expect([job.parentSpanContext, linksOf(job)]).toEqual([undefined, [[spanId(cron), "surrounding"]]]);
    expect(job.spanContext().traceId).not.toBe(cron.spanContext().traceId);
    expect(seen).toEqual([undefined, "kept"]);
  });

  test("without a carrier is no child of the task it is started in", async () => {
    const telemetry = startTelemetry();
    await runAttempt({ funcName: "boot" }, () => runAttempt({ funcName: "job" }, () => {}));
    expect(telemetry.span("process job").attributes).not.toHaveProperty("task.parent.id");
    expect(telemetry.span("process job").parentSpanContext).toBeUndefined();
  });

  test("links to the previous attempt it is told of", async () => {
    const telemetry = startTelemetry();
    const previous = await runAttempt({ funcName: "job" }, () => trace.getActiveSpan()?.spanContext());
    await runAttempt({ funcName: "job", attempt: 1, previous }, () => {});
    expect(linksOf(telemetry.named("process job")[1])).toEqual([[previous?.spanId, "previous_attempt"]]);
  });

  test("ends at once when the engine's signal aborts, and hands the reason on", async () => {
    const telemetry = startTelemetry();
    const engine = new AbortController();
    const attempt = runAttempt({ funcName: "job", signal: engine.signal }, () => new Promise(() => {}));
    engine.abort(new Error("lock lost"));
    await expect(attempt).rejects.toMatchObject({ code: "TASK_CANCELLED", cause: { message: "lock lost" } });
    expect(telemetry.span("process job").attributes["task.outcome"]).toBe("cancelled");
  });

  test("does not start when the engine's signal is aborted already", async () => {
    const fn = vi.fn();
    await expect(runAttempt({ funcName: "job", signal: AbortSignal.abort() }, fn)).rejects.toMatchObject({
      code: "TASK_CANCELLED",
    });
    expect(fn).not.toHaveBeenCalled();
  });
});
