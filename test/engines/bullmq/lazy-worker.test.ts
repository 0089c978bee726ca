import { context, createContextKey, propagation, trace } from "@opentelemetry/api";
import { suppressTracing } from "@opentelemetry/core";
import { getTaskContext, runAttempt } from "otel-taskflow";
import { expect, test } from "vitest";
import { startTelemetry } from "../../support/telemetry.js";
import { describeRoads } from "./roads.js";

const KEY = createContextKey("a key of the application's");

await describeRoads(
  "a worker that is made inside of something else",
  (open, _bullmq, { addJob, withTask, addElsewhere }) => {
    test("runs jobs without a carrier in traces of their own, as tasks without a parent", async () => {
      const telemetry = startTelemetry();
      const lab = open();
      await trace.getTracer("app").startActiveSpan("request", async (span) => {
        await runAttempt({ funcName: "boot" }, () => void lab.work(withTask(async () => getTaskContext()?.tags)));
        span.end();
      });
      const { id } = await addElsewhere(lab.queue, "plain", {});
      await lab.reaches("completed", id);
      const { attributes, parentSpanContext } = telemetry.span("process plain");
      expect([attributes["task.parent.id"], parentSpanContext]).toEqual([undefined, undefined]);
    });

    test("runs jobs in the root context, apart from what they brought themselves", async () => {
      const telemetry = startTelemetry();
      const lab = open();
      const process = withTask(async () => {
        const baggage = propagation.getActiveBaggage()?.getAllEntries() ?? [];
        return [context.active().getValue(KEY) ?? null, baggage.map(([key]) => key)];
      });
      context.with(suppressTracing(context.active().setValue(KEY, "of a request")), () => lab.work(process));
      for (const job of [
        await addElsewhere(lab.queue, "plain", {}),
        await addJob(lab.queue, "ours", {}, { tags: { plan: "pro" } }),
      ]) {
        await lab.reaches("completed", job.id);
      }
      expect(telemetry.named("process plain")).toHaveLength(1);
      const ours = telemetry.span("process ours");
      expect(ours.spanContext().traceId).toBe(telemetry.span("enqueue ours").spanContext().traceId);
      const returned = (await lab.queue.getCompleted()).map(({ returnvalue }) => returnvalue);
      expect(returned.toSorted()).toEqual([
        [null, []],
        [null, ["task.tag.plan"]],
      ]);
    });
  },
);
