import { metrics, SpanStatusCode, trace } from "@opentelemetry/api";
import * as bullmq from "bullmq";
import * as bullmq5 from "bullmq5";
import { getTaskContext, isTaskConfigError, type TaskTags } from "otel-taskflow";
import { withTasks } from "otel-taskflow/bullmq";
import { TaskInstrumentation, type TaskInstrumentationConfig } from "otel-taskflow/instrumentation";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Bullmq, type Lab, openLab } from "../engines/bullmq/lab.js";
import { recordMetrics, startMetrics, type TestMetrics } from "../support/metrics.js";
import { redisUrl } from "../support/servers.js";
import { recordSpans, startTelemetry } from "../support/telemetry.js";
import { describeUnavailable } from "../support/unavailable.js";

// options as JavaScript, or a configuration file, gives them
const odd = (config: object): TaskInstrumentationConfig => config;

function instrument(config?: TaskInstrumentationConfig): TaskInstrumentation {
  const instrumentation = new TaskInstrumentation(config);
  onTestFinished(() => instrumentation.disable());
  return instrumentation;
}

/** Runs one job, and resolves to the tags that its handler saw; `undefined` where it had no task. */
async function tagsOfRun(lab: Lab, data: object): Promise<TaskTags | undefined> {
  let seen: TaskTags | undefined;
  lab.work(async () => {
    seen = getTaskContext()?.tags;
  });
  const { id } = await lab.queue.add("mail", data);
  await lab.reaches("completed", id);
  return seen;
}

test.each([
  ["an option that is misspelled", { tag: () => ({}) }, 'new TaskInstrumentation(): unknown option "tag"'],
  ["a library that is neither on nor off", { bullmq: "yes" }, "bullmq: expected true or false"],
])("refuses %s", (_what, config, message) => {
  expect(() => new TaskInstrumentation(odd(config))).toThrow(message);
  expect(() => new TaskInstrumentation(odd(config))).toThrow(expect.toSatisfy(isTaskConfigError));
});

const { url, unavailable } = await redisUrl();
if (url === undefined) describeUnavailable("TaskInstrumentation", unavailable);
else {
  describe("TaskInstrumentation", () => {
    test("gives jobs the tags that its option says, and leaves those alone that it ignores", async () => {
      const telemetry = startTelemetry();
      instrument({
        tags: ({ data }) => ({ tenant: Reflect.get(Object(data), "tenant") }),
        ignore: ({ data }) => Reflect.get(Object(data), "tenant") === "nobody",
      });
      expect(await tagsOfRun(openLab(bullmq, url), { tenant: "acme" })).toEqual({ tenant: "acme" });
      expect(await tagsOfRun(openLab(bullmq, url), { tenant: "nobody" })).toBeUndefined();
      expect(telemetry.spans().map(({ name }) => name)).toEqual(["enqueue mail", "process mail"]);
    });

    test("adds jobs as before where workers are to be deployed first, and runs them as tasks", async () => {
      const telemetry = startTelemetry();
      instrument({ producer: false, tags: () => ({ plan: "pro" }) });
      const lab = openLab(bullmq, url);
      expect(await tagsOfRun(lab, {})).toEqual({ plan: "pro" });
      expect(telemetry.spans().map(({ name }) => name)).toEqual(["process mail"]);
      const [stored] = await lab.queue.getCompleted();
      expect(Object.keys(stored?.opts ?? {})).not.toContain("otel-taskflow");
    });

    test("does nothing before it is enabled, nor after it was disabled", async () => {
      const instrumentation = instrument({ enabled: false });
      expect([instrumentation.isEnabled(), await tagsOfRun(openLab(bullmq, url), {})]).toEqual([false, undefined]);
      instrumentation.enable();
      expect(await tagsOfRun(openLab(bullmq, url), {})).toEqual({});
      instrumentation.disable();
      expect(await tagsOfRun(openLab(bullmq, url), {})).toBeUndefined();
    });

    test("keeps its options where withTasks() is called without any, as other options of withTasks() are kept", async () => {
      instrument({ tags: () => ({ plan: "pro" }) });
      withTasks(bullmq);
      expect(await tagsOfRun(openLab(bullmq, url), {})).toEqual({ plan: "pro" });
      // no other test here uses this version
      const lab = openLab(bullmq5 as unknown as Bullmq, url);
      withTasks(bullmq5, { tags: () => ({ plan: "free" }) });
      withTasks(bullmq5);
      expect(await tagsOfRun(lab, {})).toEqual({ plan: "free" });
    });

    test("takes another configuration while it runs", async () => {
      const instrumentation = instrument();
      instrumentation.setConfig({ tags: () => ({ release: 7 }) });
      expect(await tagsOfRun(openLab(bullmq, url), {})).toEqual({ release: "7" });
      expect(() => instrumentation.setConfig(odd({ name: "mail" }))).toThrow("name: expected a function");
    });

    test("shows an attempt that will be retried as its option says", async () => {
      const telemetry = startTelemetry();
      instrument({ retryStatus: "unset" });
      const lab = openLab(bullmq, url);
      lab.work(async () => Promise.reject(new Error("no")));
      const { id } = await lab.queue.add("mail", {}, { attempts: 2 });
      await lab.reaches("failed", id);
      const ends = telemetry.named("process mail").map((run) => [run.attributes["task.outcome"], run.status.code]);
      expect(ends).toEqual([
        ["retry", SpanStatusCode.UNSET],
        ["failure", SpanStatusCode.ERROR],
      ]);
    });

    test("counts by the meter provider that it is told of, else by the global one, whenever that comes", async () => {
      const own = recordMetrics();
      onTestFinished(() => own.provider.shutdown());
      const instrumentation = instrument();
      // as registerInstrumentations does before an SDK has registered its own
      instrumentation.setMeterProvider(metrics.getMeterProvider());
      const global = startMetrics();
      const counts = async ({ collect }: TestMetrics): Promise<unknown[]> => {
        const measured = await collect();
        return ["task.enqueued", "task.finished"].map((name) =>
          measured.get(name)?.dataPoints.map(({ value }) => value),
        );
      };
      await tagsOfRun(openLab(bullmq, url), {});
      expect(await counts(global)).toEqual([[1], [1]]);
      instrumentation.setMeterProvider(own.provider);
      await tagsOfRun(openLab(bullmq, url), {});
      expect([await counts(global), await counts(own)]).toEqual([
        [[1], [1]],
        [[1], [1]],
      ]);
    });

    test("keeps the providers of its options, whatever it is told of, and those it is told of in a new configuration", async () => {
      const [given, told] = [recordSpans(), recordSpans()];
      onTestFinished(async () => void (await Promise.all([given.provider.shutdown(), told.provider.shutdown()])));
      const instrumentation = instrument({ tracerProvider: given.provider });
      instrumentation.setTracerProvider(told.provider);
      await tagsOfRun(openLab(bullmq, url), {});
      expect([given.spans().length, told.spans().length]).toEqual([2, 0]);
      instrumentation.setConfig({ tags: () => ({ release: 7 }) });
      expect(await tagsOfRun(openLab(bullmq, url), {})).toEqual({ release: "7" });
      expect([given.spans().length, told.spans().length]).toEqual([2, 2]);
    });

    test("gives its spans to the provider that it is told of, else to the global one, whenever that comes", async () => {
      const own = recordSpans();
      onTestFinished(() => own.provider.shutdown());
      const instrumentation = instrument();
      // as registerInstrumentations does before an SDK has registered its own
      instrumentation.setTracerProvider(trace.getTracerProvider());
      instrumentation.setMeterProvider(metrics.getMeterProvider());
      const telemetry = startTelemetry();
      await tagsOfRun(openLab(bullmq, url), {});
      expect(telemetry.spans()).toHaveLength(2);
      instrumentation.setTracerProvider(own.provider);
      await tagsOfRun(openLab(bullmq, url), {});
      expect([telemetry.spans().length, own.spans().length]).toEqual([2, 2]);
    });
  });
}
