import { SpanKind, trace } from "@opentelemetry/api";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import { TaskTreeExporter } from "otel-taskflow/sdk";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { deferred } from "../support/tasks.js";
import { stopTelemetry } from "../support/telemetry.js";
import { treeHarness, unseen } from "./tree-exporter-harness.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const waitForRetry = { "task.outcome": "retry", "task.retry.delay": 2 };

test("prints a trace once it has been quiet for 250 ms", () => {
  const { span, written } = treeHarness();
  const parent = span("root", 0, 1);
  vi.advanceTimersByTime(200);
  span("child", 1, 2, { parent });
  vi.advanceTimersByTime(249);
  expect(written).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(written.join("")).toMatch(/2 spans[\s\S]*root[\s\S]*└─ child/);
});

test("waits as long as quietTime says", () => {
  const { span, written } = treeHarness({ quietTime: 1_000 });
  span("root", 0, 1);
  vi.advanceTimersByTime(999);
  expect(written).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(written).toHaveLength(1);
});

test("each trace is quiet on its own", () => {
  const { span, written } = treeHarness();
  span("early", 0, 1);
  vi.advanceTimersByTime(200);
  span("late", 0, 1);
  vi.advanceTimersByTime(50);
  expect(written.join("")).toContain("early");
  expect(written.join("")).not.toContain("late");
});

test("its timer does not keep the process alive", () => {
  const timers = vi.spyOn(globalThis, "setTimeout");
  treeHarness().span("root", 0, 1);
  expect(timers.mock.results.at(-1)?.value.hasRef()).toBe(false);
});

test("keeps a trace together while a retry is announced", () => {
  const { enqueue, attempt, written } = treeHarness();
  const parent = enqueue(0);
  attempt(0, 2, 10, { parent, attributes: waitForRetry });
  vi.advanceTimersByTime(2_500);
  expect(written).toEqual([]);
  attempt(1, 2_010, 2_600, { parent });
  vi.advanceTimersByTime(250);
  expect(written.join("")).toMatch(/3 spans[\s\S]*attempt 0 of 3 ↻ retry in 2s[\s\S]*attempt 1 of 3 ✓ success/);
});

test("keeps a trace together while its task is queued in memory, 10 s at most", () => {
  const { enqueue, written } = treeHarness();
  enqueue(0);
  vi.advanceTimersByTime(9_999);
  expect(written).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(written).toHaveLength(1);
});

test("does not wait for a task that a broker runs, perhaps elsewhere", () => {
  const { enqueue, written } = treeHarness();
  enqueue(0, { attributes: { "task.engine": "bullmq" } });
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(1);
});

test("does not wait for a task that the engine refused", () => {
  const { start, written, at } = treeHarness();
  const attributes = { "task.id": "t1", "task.name": "send", "task.engine": "memory" };
  start("enqueue send", 0, { kind: SpanKind.PRODUCER, attributes }).setStatus({ code: 2 }).end(at(1));
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(1);
});

test.each(["memory", "bullmq"])("an enqueue span may end after its attempt: %s", (engine) => {
  const { start, attempt, written, at } = treeHarness();
  const attributes = { "task.id": "t1", "task.name": "send", "task.engine": engine };
  const parent = start("enqueue send", 0, { kind: SpanKind.PRODUCER, attributes });
  attempt(0, 2, 10, { parent });
  parent.end(at(11));
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(1);
});

test("a broker's announced retry is waited for when the enqueue span ends last", () => {
  const { start, attempt, written, at } = treeHarness();
  const attributes = { "task.id": "t1", "task.name": "send", "task.engine": "bullmq" };
  const parent = start("enqueue send", 0, { kind: SpanKind.PRODUCER, attributes });
  attempt(0, 2, 10, { parent, attributes: waitForRetry });
  parent.end(at(11));
  vi.advanceTimersByTime(9_000);
  expect(written).toEqual([]);
});

test("does not wait for a task that turned out to run in a trace of its own", () => {
  const { enqueue, attempt, written } = treeHarness();
  enqueue(0);
  attempt(0, 5, 9, { attributes: waitForRetry });
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(2);
});

test("keeps a child until its parent in this process has ended", () => {
  const { start, span, written, at } = treeHarness();
  const parent = start("root", 0);
  span("child", 1, 2, { parent });
  vi.advanceTimersByTime(5_000);
  parent.end(at(5_000));
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(1);
});

test("does not wait for a parent in another process", () => {
  const { span, written } = treeHarness();
  span("GET /", 0, 1, { parent: unseen("a", { isRemote: true }) });
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(1);
});

test("forceFlush prints at once, and only once", async () => {
  const { enqueue, provider, written } = treeHarness();
  enqueue(0);
  await provider.forceFlush();
  expect(written).toHaveLength(1);
  await provider.forceFlush();
  vi.advanceTimersByTime(20_000);
  expect(written).toHaveLength(1);
});

test("shutdown prints what is left and leaves no timer", async () => {
  const { span, provider, written } = treeHarness();
  span("root", 0, 1);
  await provider.shutdown();
  expect(written.join("")).toContain("root");
  expect(vi.getTimerCount()).toBe(0);
});

test("prints what a SimpleSpanProcessor sends only after shutdown, as it does while the resource is not complete", async () => {
  vi.useRealTimers();
  onTestFinished(stopTelemetry);
  const written: string[] = [];
  const exporter = new TaskTreeExporter({ stream: { write: (text) => written.push(text) } });
  const hostId = deferred<string>();
  const sdk = new NodeSDK({
    resourceDetectors: [{ detect: () => ({ attributes: { "host.id": hostId.promise } }) }],
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
    ...{ metricReaders: [], logRecordProcessors: [] },
  });
  sdk.start();
  const tracer = trace.getTracer("test");
  tracer.startActiveSpan("root", (root) => {
    tracer.startSpan("child").end();
    root.end();
  });
  await exporter.shutdown();
  expect(written).toEqual([]);
  hostId.resolve("h-1");
  await vi.waitFor(() => expect(written.join("")).toMatch(/2 spans[\s\S]*root[\s\S]*└─ child/));
  await sdk.shutdown();
});

test("prints a late span as its own tree, on the time axis of its trace", async () => {
  const { span, attempt, flushed, written } = treeHarness();
  const parent = span("root", 0, 10);
  await flushed();
  attempt(1, 5_000, 5_100, { parent });
  await flushed();
  expect(written).toHaveLength(2);
  const [head, ruler, line] = written[1]?.split("\n") ?? [];
  expect(head).toBe(`trace ${parent.spanContext().traceId} · continued · 1 span · 100ms`);
  expect(ruler?.trim()).toMatch(/^5s {2,}5\.02s/);
  expect(line).toMatch(/^process send █+ {2}100ms {2}attempt 1 of 3 ✓ success$/);
});

test("what a flushed trace waited for does not hold back what comes late", async () => {
  const { enqueue, span, flushed, written } = treeHarness();
  const parent = enqueue(0, { parent: unseen("a") });
  await flushed();
  span("late", 20, 30, { parent });
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(2);
});

test("a late child of a printed span is not kept waiting", async () => {
  const { span, flushed, written } = treeHarness();
  const parent = span("root", 0, 10);
  await flushed();
  span("child", 20, 30, { parent });
  vi.advanceTimersByTime(250);
  expect(written).toHaveLength(2);
});
