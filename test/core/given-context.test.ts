import { type Context, context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { AlwaysOnSampler, type Sampler } from "@opentelemetry/sdk-trace";
import { continueAttempt, getTaskContext, runAttempt } from "otel-taskflow";
import { expect, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

const JOB = { funcName: "job", taskId: "7", attempt: 1 };

test("a span processor of one's own reads the task from the context that it is given", async () => {
  const seen: unknown[] = [];
  const onStart = (span: { name: string }, parent: Context): void => {
    seen.push([span.name, getTaskContext(parent)?.taskId]);
  };
  const processor = { onStart, onEnd: () => {}, forceFlush: async () => {}, shutdown: async () => {} };
  startTelemetry({ spanProcessors: [processor] });
  const tracer = trace.getTracer("test");
  await runAttempt(JOB, () => {
    tracer.startSpan("inside").end();
    tracer.startSpan("left", {}, ROOT_CONTEXT).end();
  });
  expect(seen).toEqual([
    ["process job", undefined],
    ["inside", "7"],
    ["left", undefined],
  ]);
});

test("a sampler of one's own does so", async () => {
  const seen: unknown[] = [];
  const inner = new AlwaysOnSampler();
  const sampler: Sampler = {
    shouldSample(parent: Context) {
      seen.push(getTaskContext(parent)?.attempt);
      return inner.shouldSample();
    },
    toString: () => "own",
  };
  startTelemetry({ sampler });
  await runAttempt(JOB, () => trace.getTracer("test").startSpan("inside").end());
  expect(seen).toEqual([undefined, 1]);
});

test("the context that a task's span starts in belongs to no other task: not its enqueuer's, nor the surrounding one", async () => {
  const seen: unknown[] = [];
  const onStart = ({ name }: { name: string }, parent: Context): void => {
    seen.push([name, getTaskContext(parent)?.funcName]);
  };
  const processor = { onStart, onEnd: () => {}, forceFlush: async () => {}, shutdown: async () => {} };
  startTelemetry({ spanProcessors: [processor] });
  const tasks = createTasks();
  const child = tasks.task("child", () => {});
  const parent = tasks.task("parent", async () => {
    await tasks.addTask(child);
    await runAttempt({ funcName: "job" }, () => {});
    await continueAttempt({ carrier: { "otel-taskflow": '{"v":1,"id":"i","name":"part"}' } }, () => {});
  });
  await tasks.addTask(parent);
  await tasks.idle();
  expect(seen).toContainEqual(["enqueue child", "parent"]);
  for (const name of ["process child", "process job", "continue part"]) expect(seen).toContainEqual([name, undefined]);
});

test("a log record processor of one's own does so", async () => {
  startTelemetry();
  const seen: unknown[] = [];
  const onEmit = (_: unknown, within: Context | undefined): void => void seen.push(getTaskContext(within)?.taskId);
  const own = { onEmit, forceFlush: async () => {}, shutdown: async () => {} };
  const exporter = new InMemoryLogRecordExporter();
  const provider = new LoggerProvider({ processors: [own, new SimpleLogRecordProcessor({ exporter })] });
  await runAttempt(JOB, () => provider.getLogger("test").emit({ body: "hello", context: context.active() }));
  await provider.shutdown();
  expect(seen).toEqual(["7"]);
});

test("a given context alone is asked, and never what the calling code runs in", async () => {
  const inside = async (): Promise<unknown[]> => [getTaskContext(ROOT_CONTEXT), getTaskContext()?.taskId];
  // no SDK: the library's own store knows the task
  expect(await runAttempt(JOB, inside)).toEqual([undefined, "7"]);
  startTelemetry();
  expect(await runAttempt(JOB, inside)).toEqual([undefined, "7"]);
});

test("what is no context belongs to no task, and does not throw", () => {
  for (const value of [null, 5, "context", {}, () => {}]) {
    expect(getTaskContext(value as unknown as Context)).toBeUndefined();
  }
});
