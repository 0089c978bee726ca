import { context, type Span, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { TaskManager } from "otel-taskflow";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { type OpenTelemetryOptions, PgBoss } from "pg-boss";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { otherLinks, startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { postgresBackend } from "./backends.js";
import { closeRig, openRig, type Rig } from "./rig.js";

const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("beside pg-boss's own spans", describeBoth);

function describeBoth(): void {
  test("an attempt is under its enqueue span, and linked to pg-boss's span in another trace", async () => {
    const rig = await startBoth({});
    await rig.work(() => {});
    const request = await requestIn(rig, () => rig.send({}));
    const [attempt] = await rig.attempts(1);
    const [sent, processed] = await Promise.all([native(rig, "send"), native(rig, "process")]);
    const enqueued = rig.span(`enqueue ${rig.queue}`);
    expect([enqueued, sent, attempt].map(traceOf)).toEqual([enqueued, sent, attempt].map(() => traceOf(request)));
    expect([sent, attempt].map(parentOf)).toEqual([idOf(enqueued), idOf(enqueued)]);
    expect(traceOf(processed)).not.toBe(traceOf(request));
    const link = { context: { spanId: idOf(processed) }, attributes: { "task.link": "surrounding" } };
    expect(attempt && otherLinks(attempt)).toMatchObject([link]);
  });

  test("with propagateContext all spans are one trace, and there is nothing to link", async () => {
    const rig = await startBoth({ propagateContext: true });
    await rig.work(() => {});
    const request = await requestIn(rig, () => rig.send({}));
    const [attempt] = await rig.attempts(1);
    const spans = [rig.span(`enqueue ${rig.queue}`), await native(rig, "send"), await native(rig, "process"), attempt];
    expect(spans.map(traceOf)).toEqual(spans.map(() => traceOf(request)));
    expect([parentOf(attempt), attempt && otherLinks(attempt)]).toEqual([idOf(spans[0]), []]);
  });

  test("with propagateContext a job of a plain boss.send has a trace of its own, linked to pg-boss's span", async () => {
    const rig = await startBoth({ propagateContext: true });
    await rig.work(() => {});
    await requestIn(rig, () => rig.boss.send(rig.queue, { order: 7 }));
    const [attempt] = await rig.attempts(1);
    const link = {
      context: { spanId: idOf(await native(rig, "process")) },
      attributes: { "task.link": "surrounding" },
    };
    expect(parentOf(attempt)).toBeUndefined();
    expect(attempt && otherLinks(attempt)).toMatchObject([link]);
  });

  test("nothing is counted twice", async () => {
    const metrics = startMetrics();
    const rig = await startBoth({});
    await rig.work(() => {}, { batchSize: 2 });
    await rig.send({});
    await rig.send({});
    await rig.attempts(2);
    const sums = async (name: string): Promise<unknown> =>
      (await metrics.collect()).get(name)?.dataPoints.map(({ value }) => value);
    expect([await sums("task.enqueued"), await sums("task.finished")]).toEqual([[2], [2]]);
    expect(rig.named(`enqueue ${rig.queue}`)).toHaveLength(2);
  });

  test("the engine's attempts stay in their trace, what pg-boss does for them too, and looking leaves no spans", async () => {
    const telemetry = startTelemetry();
    const boss = new PgBoss(backend.connection);
    const tasks = new TaskManager({ engine: pgBossEngine({ boss, queue: "traced", pollingIntervalSeconds: 0.05 }) });
    onTestFinished(async () => void (await tasks.shutdown()));
    const task = tasks.task({ name: "task", retries: 1 }, () => Promise.reject(new Error("no")));
    await tasks.work();
    const request = await requestIn(telemetry, () => tasks.addTask(task));
    await tasks.idle();
    const spans = telemetry.spans().filter(({ name }) => name !== "request");
    expect(spans.map(traceOf)).toEqual(spans.map(() => traceOf(request)));
    const names = ["enqueue task", "insert traced", "process task", "process task"];
    expect(spans.map(({ name }) => name).sort()).toEqual(
      [...names, "fail traced", "fail traced", "fail traced"].sort(),
    );
  });
}

/** pg-boss records its own spans where the rig's go, as it does by itself where an SDK is registered. */
async function startBoth(openTelemetry: OpenTelemetryOptions): Promise<Rig> {
  const rig = await openRig({ ...backend.connection, openTelemetry }, startTelemetry());
  onTestFinished(() => closeRig(rig));
  return rig;
}

async function requestIn({ provider }: TestTelemetry, run: () => Promise<unknown>): Promise<Span> {
  const span = provider.getTracer("test").startSpan("request");
  await context.with(trace.setSpan(context.active(), span), run);
  span.end();
  return span;
}

/** pg-boss's own span of this operation; waits for it. */
async function native({ queue, named }: Rig, operation: string): Promise<ReadableSpan> {
  return await vi.waitFor(() => {
    const [span, ...others] = named(`${operation} ${queue}`).filter(({ attributes }) => !("task.id" in attributes));
    if (span === undefined || others.length > 0) throw new Error(`expected one span of pg-boss for ${operation}`);
    return span;
  }, 5_000);
}

function traceOf(span: Pick<Span, "spanContext"> | undefined): string | undefined {
  return span?.spanContext().traceId;
}

function idOf(span: Pick<Span, "spanContext"> | undefined): string | undefined {
  return span?.spanContext().spanId;
}

function parentOf(span: ReadableSpan | undefined): string | undefined {
  return span?.parentSpanContext?.spanId;
}
