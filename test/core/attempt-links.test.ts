import { context, type Span, type SpanContext, trace } from "@opentelemetry/api";
import { type Carrier, enqueueTask, runAttempt, type TaskRelation } from "otel-taskflow";
import { beforeEach, describe, expect, test } from "vitest";
import { startTelemetry, type TestTelemetry } from "../support/telemetry.js";

let telemetry: TestTelemetry;
beforeEach(() => {
  telemetry = startTelemetry();
});

const start = (name: string, within = context.active()): Span => trace.getTracer("test").startSpan(name, {}, within);

async function enqueued(relation: TaskRelation): Promise<{ carrier: Carrier; enqueue: SpanContext }> {
  const carrier = await enqueueTask({ funcName: "job", relation }, (sent) => ({ ...sent }));
  return { carrier, enqueue: telemetry.span("enqueue job").spanContext() };
}

/** What an attempt is linked to that starts where this span is active: kinds and ids. */
async function linksIn(span: Span, carrier: Carrier): Promise<unknown[]> {
  await context.with(trace.setSpan(context.active(), span), () => runAttempt({ carrier }, () => {}));
  return telemetry
    .span("process job")
    .links.map(({ attributes, context: { spanId } }) => [attributes?.["task.link"], spanId]);
}

describe("an attempt under its enqueuer is linked to the span around it", () => {
  test("where that is of another trace", async () => {
    const { carrier } = await enqueued("parent");
    const worker = start("worker");
    expect(await linksIn(worker, carrier)).toEqual([["surrounding", worker.spanContext().spanId]]);
  });

  test("and not where it is of the same trace", async () => {
    const { carrier, enqueue } = await enqueued("parent");
    const worker = start("worker", trace.setSpanContext(context.active(), enqueue));
    expect(await linksIn(worker, carrier)).toEqual([]);
  });
});

describe("an attempt in a trace of its own is linked to its enqueuer, and to the span around it", () => {
  test.each(["another", "the same"])("where that is of %s trace", async (which) => {
    const { carrier, enqueue } = await enqueued("link");
    const within = trace.setSpanContext(context.active(), enqueue);
    const worker = which === "another" ? start("worker") : start("worker", within);
    expect(await linksIn(worker, carrier)).toEqual([
      ["enqueue", enqueue.spanId],
      ["surrounding", worker.spanContext().spanId],
    ]);
  });

  test("once where that is the enqueuer's own span", async () => {
    const { carrier, enqueue } = await enqueued("link");
    expect(await linksIn(trace.wrapSpanContext(enqueue), carrier)).toEqual([["enqueue", enqueue.spanId]]);
  });
});
