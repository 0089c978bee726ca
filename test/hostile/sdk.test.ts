import { type TracerProvider as ApiTracerProvider, context, propagation, SpanKind, trace } from "@opentelemetry/api";
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  InMemorySpanExporter,
  NoopSpanProcessor,
  type Sampler,
  SamplingDecision,
  SimpleSpanProcessor,
  type SpanExporter,
  type SpanProcessor,
  TracerProvider,
  type TracerProviderOptions,
} from "@opentelemetry/sdk-trace";
import { enqueueTask, getTaskContext, runAttempt, taskLog } from "otel-taskflow";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry, stopTelemetry, useContextManager, usePropagator } from "../support/telemetry.js";
import { explode, idleSoon, untouchable, watchUnhandled } from "./fixtures.js";

const job = { funcName: "job", tags: { plan: "pro" } };

const SPAN_METHODS = [
  ...["setAttribute", "setAttributes", "addEvent", "addLink", "addLinks", "setStatus", "updateName", "end"],
  ...["isRecording", "recordException"],
];

const sdk = (options: TracerProviderOptions): ApiTracerProvider => new TracerProvider(options);
const processor = (parts: Partial<SpanProcessor>): SpanProcessor => Object.assign(new NoopSpanProcessor(), parts);
const exporter = (parts: Partial<SpanExporter>): SpanExporter => Object.assign(new InMemorySpanExporter(), parts);
const sampler = (shouldSample: () => never): Sampler => ({ shouldSample, toString: () => "broken" });
const ids = (generate: () => never): TracerProviderOptions => ({
  idGenerator: { generateTraceId: generate, generateSpanId: generate },
});
const tracers = (startSpan: () => unknown): ApiTracerProvider =>
  ({ getTracer: () => ({ startSpan, startActiveSpan: explode }) }) as unknown as ApiTracerProvider;
const methods = (method: () => never): object => Object.fromEntries(SPAN_METHODS.map((name) => [name, method]));
const garbage = (value: unknown) => (): never => value as never;

/** Every part of an SDK that a user may replace, broken. */
const broken: Record<string, () => ApiTracerProvider> = {
  "an exporter that throws": () =>
    sdk({ spanProcessors: [new SimpleSpanProcessor({ exporter: exporter({ export: explode }) })] }),
  "an exporter that fails": () =>
    sdk({
      spanProcessors: [new SimpleSpanProcessor({ exporter: exporter({ export: (_, done) => done({ code: 1 }) }) })],
    }),
  "a batching exporter that throws": () =>
    sdk({
      spanProcessors: [
        new BatchSpanProcessor({
          exporter: exporter({ export: explode }),
          maxExportBatchSize: 1,
          scheduledDelayMillis: 1,
        }),
      ],
    }),
  "a processor that throws at a span's start": () => sdk({ spanProcessors: [processor({ onStart: explode })] }),
  "a processor that throws before a span's end": () => sdk({ spanProcessors: [processor({ onEnding: explode })] }),
  "a processor that throws at a span's end": () => sdk({ spanProcessors: [processor({ onEnd: explode })] }),
  "a sampler that throws": () => sdk({ sampler: sampler(explode) }),
  "a sampler that returns nothing": () => sdk({ sampler: sampler(garbage(undefined)) }),
  "an id generator that throws": () => sdk(ids(explode)),
  "an id generator that returns nothing": () => sdk(ids(garbage(undefined))),
  "an id generator that returns garbage": () => sdk(ids(garbage({ toString: explode }))),
  "a provider whose getTracer throws": () => ({ getTracer: explode }),
  "a provider whose getTracer returns nothing": () => ({ getTracer: garbage(undefined) }),
  "a tracer whose startSpan throws": () => tracers(explode),
  "a tracer whose startSpan returns nothing": () => tracers(() => undefined),
  "a tracer whose spans are empty objects": () => tracers(() => ({})),
  "a tracer whose spans throw on every call": () => tracers(() => untouchable()),
  "a tracer whose spans say who they are until they have ended": () =>
    tracers(() => {
      const span = trace.wrapSpanContext({ traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 });
      return Object.assign(span, { end: () => void Object.assign(span, { spanContext: explode }) });
    }),
  "a tracer whose spans can only say who they are": () =>
    tracers(() => ({ ...methods(explode), spanContext: () => ({ traceId: "a".repeat(32), spanId: "b".repeat(16) }) })),
};

describe.each(Object.entries(broken))("with %s", (_, create) => {
  function useBroken(): void {
    trace.setGlobalTracerProvider(create());
    useContextManager();
    usePropagator();
    onTestFinished(stopTelemetry);
  }

  test("an attempt's result comes through, and its code has its context", async () => {
    useBroken();
    const result = { tags: {} };
    const run = runAttempt(job, async () => {
      await Promise.resolve();
      taskLog("still running", { level: "warn" });
      return Object.assign(result, { tags: getTaskContext()?.tags });
    });
    expect(await run).toBe(result);
    expect(result.tags).toEqual({ plan: "pro" });
  });

  test("an attempt's error comes through unwrapped", async () => {
    useBroken();
    const error = new Error("the task's own");
    await expect(runAttempt(job, () => Promise.reject(error))).rejects.toBe(error);
  });

  test("a task is handed over with its tags", async () => {
    useBroken();
    const sent: unknown[] = [];
    const receipt = { accepted: true };
    const send = enqueueTask(job, async (carrier) => {
      await runAttempt({ funcName: "job", carrier }, () => sent.push(getTaskContext()?.tags));
      return receipt;
    });
    expect(await send).toBe(receipt);
    expect(sent).toEqual([{ plan: "pro" }]);
  });

  test("a queue's refusal comes through unwrapped", async () => {
    useBroken();
    const refusal = new Error("queue is down");
    await expect(enqueueTask(job, () => Promise.reject(refusal))).rejects.toBe(refusal);
  });

  test("a failing task is retried, and other tasks run", async () => {
    useBroken();
    const unhandled = watchUnhandled();
    const tasks = createTasks();
    const attempts: unknown[] = [];
    const flaky = tasks.task({ name: "flaky", retries: 2 }, () => {
      attempts.push(getTaskContext()?.attempt);
      throw new Error("again");
    });
    const other = vi.fn();
    await tasks.addTask(flaky);
    await tasks.addTask(tasks.task("other", other));
    await vi.waitFor(() => expect(attempts).toEqual([0, 1, 2]), { interval: 2 });
    await vi.waitFor(() => expect(other).toHaveBeenCalledOnce(), { interval: 2 });
    await unhandled.settled();
    expect(unhandled.reasons).toEqual([]);
  });

  test("the manager gets idle and shuts down", async () => {
    useBroken();
    const tasks = createTasks();
    const id = await tasks.addTask(tasks.task("other", () => "done"));
    expect(id).toEqual(expect.any(String));
    await idleSoon(tasks);
    await expect(tasks.shutdown({ timeout: 1000 })).resolves.toMatchObject({ abandoned: [] });
  });
});

describe("a span that cannot be started", () => {
  const deaf: Sampler = {
    shouldSample: (_context, _traceId, _name, kind) =>
      kind === SpanKind.INTERNAL ? { decision: SamplingDecision.RECORD_AND_SAMPLED } : explode(),
    toString: () => "deaf",
  };

  test.each(["runAttempt", "enqueueTask"])("leaves the span around %s as it was", async (door) => {
    const telemetry = startTelemetry({ sampler: deaf });
    const request = trace.getTracer("test").startSpan("request");
    const active = trace.setSpan(context.active(), request);
    const fails = (): Promise<never> => Promise.reject(new Error("task failed"));
    const work = context.with(active, () => (door === "runAttempt" ? runAttempt(job, fails) : enqueueTask(job, fails)));
    await expect(work).rejects.toThrow("task failed");
    expect(request.isRecording()).toBe(true);
    request.end();
    const span = telemetry.span("request");
    expect([span.status.code, span.events, span.attributes]).toEqual([0, [], {}]);
  });

  test("leaves the enqueuer's span as it was when the task runs later", async () => {
    const telemetry = startTelemetry({ sampler: deaf });
    const tasks = createTasks();
    const task = tasks.task("job", () => taskLog("a line"));
    const request = trace.getTracer("test").startSpan("request");
    await context.with(trace.setSpan(context.active(), request), () => tasks.addTask(task));
    await idleSoon(tasks);
    expect(request.isRecording()).toBe(true);
    request.end();
    expect(telemetry.span("request").attributes).toEqual({});
  });

  test("still has the task's own calls carry the trace of its enqueuer", async () => {
    startTelemetry({ sampler: deaf });
    const request = trace.getTracer("test").startSpan("request");
    const headers: Record<string, string> = {};
    const within = trace.setSpan(context.active(), request);
    const carrier = await context.with(within, () => enqueueTask(job, (one) => one));
    await runAttempt({ ...job, carrier }, () => propagation.inject(context.active(), headers));
    expect(headers.traceparent).toContain(request.spanContext().traceId);
  });
});

describe("every span that started ends", () => {
  test("whatever a later processor does at its end", async () => {
    const telemetry = startTelemetry({ spanProcessors: [processor({ onEnd: explode })] });
    const tasks = createTasks();
    await tasks.addTask(tasks.task({ name: "job", retries: 1 }, explode));
    await idleSoon(tasks);
    expect(telemetry.spans().map((span) => span.name)).toEqual(["enqueue job", "process job", "process job"]);
    expect(telemetry.named("process job").map((span) => span.attributes["task.outcome"])).toEqual(["retry", "failure"]);
  });

  test("and the next one starts, after a sampler that fails once", async () => {
    let calls = 0;
    const always = new AlwaysOnSampler();
    const shouldSample = (): ReturnType<Sampler["shouldSample"]> => {
      calls += 1;
      return calls === 1 ? explode() : always.shouldSample();
    };
    const telemetry = startTelemetry({ sampler: { shouldSample, toString: () => "once" } });
    await runAttempt(job, () => taskLog("unseen"));
    await runAttempt(job, () => taskLog("seen"));
    expect(telemetry.span("process job").events.map((event) => event.name)).toEqual(["seen"]);
  });
});
