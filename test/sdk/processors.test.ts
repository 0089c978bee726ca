import { context, createTraceState, ROOT_CONTEXT, SpanKind } from "@opentelemetry/api";
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { AlwaysOffSampler, ParentBasedSampler, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace";
import { getTaskContext, runAttempt, TaskManager } from "otel-taskflow";
import { keepRetries, TaskLogRecordProcessor, TaskSpanProcessor } from "otel-taskflow/sdk";
import { describe, expect, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

const job = { funcName: "job", taskId: "id-1", attempt: 1, tags: { plan: "pro" } };
const labels = { "task.id": "id-1", "task.name": "job", "task.attempt": 1, "task.tag.plan": "pro" };
const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.random() * 3));

describe("TaskSpanProcessor", () => {
  const start = (): ReturnType<typeof startTelemetry> => startTelemetry({ spanProcessors: [new TaskSpanProcessor()] });

  test("puts the task on every span started inside it, at any depth", async () => {
    const telemetry = start();
    const tracer = telemetry.provider.getTracer("db");
    await runAttempt(job, async () => {
      await tick();
      tracer.startActiveSpan("outer", (outer) => {
        tracer.startSpan("inner").end();
        outer.end();
      });
    });
    expect(telemetry.span("outer").attributes).toEqual(labels);
    expect(telemetry.span("inner").attributes).toEqual(labels);
  });

  test("leaves spans outside a task, and those that leave it deliberately, alone", async () => {
    const telemetry = start();
    const tracer = telemetry.provider.getTracer("db");
    tracer.startSpan("before").end();
    await runAttempt(job, () => context.with(ROOT_CONTEXT, () => tracer.startSpan("left").end()));
    expect([telemetry.span("before").attributes, telemetry.span("left").attributes]).toEqual([{}, {}]);
  });

  test("lets the attributes a span was started with win", async () => {
    const telemetry = start();
    const attributes = { "task.name": "mine", "task.tag.plan": "own" };
    await runAttempt(job, () => telemetry.provider.getTracer("db").startSpan("own", { attributes }).end());
    expect(telemetry.span("own").attributes).toEqual({ ...labels, ...attributes });
  });

  test("leaves the spans of a child task to the child", async () => {
    const telemetry = start();
    const tasks = createTasks();
    const child = tasks.task("child", () => {});
    const parent = tasks.task("parent", async () => void (await tasks.addTask(child, [], { taskId: "child-1" })));
    await tasks.addTask(parent, [], { tags: { plan: "pro" }, taskId: "parent-1" });
    await tasks.idle();
    for (const name of ["enqueue child", "process child"]) {
      expect(telemetry.span(name).attributes).toMatchObject({ "task.id": "child-1", "task.parent.id": "parent-1" });
      expect(telemetry.span(name).attributes).not.toHaveProperty("task.tag.plan");
    }
    expect(telemetry.span("enqueue child").attributes).not.toHaveProperty("task.attempt");
  });

  test("works where no context manager is registered", async () => {
    const telemetry = startTelemetry({ spanProcessors: [new TaskSpanProcessor()], contextManager: false });
    await runAttempt(job, async () => {
      await tick();
      telemetry.provider.getTracer("db").startSpan("query").end();
    });
    expect(telemetry.span("query").attributes).toEqual(labels);
  });
});

describe("TaskLogRecordProcessor", () => {
  function startLogger(): { exporter: InMemoryLogRecordExporter; provider: LoggerProvider } {
    const exporter = new InMemoryLogRecordExporter();
    const processors = [new TaskLogRecordProcessor(), new SimpleLogRecordProcessor({ exporter })];
    return { exporter, provider: new LoggerProvider({ processors }) };
  }

  test("puts the task on every record of every logger, and lets the record's own attributes win", async () => {
    startTelemetry();
    const { exporter, provider } = startLogger();
    await runAttempt(job, async () => {
      await tick();
      provider.getLogger("any").emit({ body: "plain" });
      provider.getLogger("other").emit({ body: "own", attributes: { "task.tag.plan": "own" } });
    });
    provider.getLogger("any").emit({ body: "outside" });
    expect(exporter.getFinishedLogRecords().map(({ attributes }) => attributes)).toEqual([
      ...[labels, { ...labels, "task.tag.plan": "own" }, {}],
    ]);
  });
});

test("100 tasks at once: every span and every record carries its own task's id and tags", async () => {
  const telemetry = startTelemetry({ spanProcessors: [new TaskSpanProcessor()] });
  const exporter = new InMemoryLogRecordExporter();
  const processors = [new TaskLogRecordProcessor(), new SimpleLogRecordProcessor({ exporter })];
  const logger = new LoggerProvider({ processors }).getLogger("app");
  const tracer = telemetry.provider.getTracer("app");
  const work = async (depth: number): Promise<void> => {
    await tick();
    const own = { id: getTaskContext()?.taskId ?? "", n: getTaskContext()?.tags.n ?? "" };
    await tracer.startActiveSpan("work", { attributes: own }, async (span) => {
      logger.emit({ body: "working", attributes: own });
      if (depth > 0) await Promise.all([work(depth - 1), tick()]);
      span.end();
    });
  };
  await using tasks = new TaskManager();
  const task = tasks.task("worker", () => work(2));
  await Promise.all(Array.from({ length: 100 }, (_, n) => tasks.addTask(task, [], { tags: { n: String(n) } })));
  await tasks.idle();
  const all = [...telemetry.named("work"), ...exporter.getFinishedLogRecords()].map(({ attributes }) => attributes);
  expect(all.length).toBe(600);
  for (const one of all) expect([one["task.id"], one["task.tag.n"]]).toEqual([one.id, one.n]);
});

describe("keepRetries", () => {
  test("leaves the trace state as the sampler made it, so that what it keeps claims no probability", async () => {
    const kept = { decision: 2, traceState: createTraceState("ot=th:8") };
    const dropped = { decision: 0, traceState: createTraceState("vendor=1") };
    const results = [kept, dropped];
    const sampler = keepRetries({ shouldSample: () => results.shift() ?? dropped, toString: () => "probability" });
    const telemetry = startTelemetry({ sampler });
    await runAttempt({ funcName: "sampled", attempt: 1 }, () => {});
    await runAttempt({ funcName: "kept", attempt: 1 }, () => {});
    const stateOf = (name: string): string | undefined => telemetry.span(name).spanContext().traceState?.serialize();
    expect([stateOf("process sampled"), stateOf("process kept")]).toEqual(["ot=th:8", "vendor=1"]);
  });

  test("records attempts from 1 on, and what they lead to, whatever the sampler says", async () => {
    const sampler = keepRetries(new ParentBasedSampler({ root: new AlwaysOffSampler() }));
    const telemetry = startTelemetry({ sampler });
    const tasks = createTasks();
    const task = tasks.task({ name: "flaky", retries: 2 }, () => {
      telemetry.provider.getTracer("db").startSpan("query").end();
      throw new Error("no");
    });
    await tasks.addTask(task);
    await tasks.idle();
    expect(telemetry.named("process flaky").map((span) => span.attributes["task.attempt"])).toEqual([1, 2]);
    expect(telemetry.named("query").length).toBe(2);
    expect(telemetry.named("enqueue flaky")).toEqual([]);
  });

  test("leaves every other decision, and its attributes, to the sampler", () => {
    const sampler = keepRetries(new TraceIdRatioBasedSampler(0));
    const ask = (kind: SpanKind, attempt: number): number =>
      sampler.shouldSample(ROOT_CONTEXT, "1".repeat(32), "x", kind, { "task.attempt": attempt }, []).decision;
    expect([ask(SpanKind.CONSUMER, 0), ask(SpanKind.CLIENT, 1), ask(SpanKind.CONSUMER, 1)]).toEqual([0, 0, 2]);
    expect(String(sampler)).toBe("KeepRetries{TraceIdRatioBased{0}}");
  });
});
