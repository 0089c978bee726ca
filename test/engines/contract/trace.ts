import { setTimeout as wait } from "node:timers/promises";
import { type Link, type Span, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { getTaskContext, type TaskRelation } from "otel-taskflow";
import { describe, expect } from "vitest";
import { deferred } from "../../support/tasks.js";
import type { Contract } from "./case.js";
import type { Rig } from "./rig.js";

export function traceCases({ test, name, system, capabilities }: Contract): void {
  const messaging = (operation: string, type: string, id: string): object =>
    system === undefined
      ? {}
      : {
          "messaging.system": system,
          "messaging.operation.name": operation,
          "messaging.operation.type": type,
          "messaging.message.id": id,
          "messaging.destination.name": expect.any(String),
        };

  describe("traces", () => {
    test("relation parent: request, enqueue and every attempt are one trace", async ({ rig }) => {
      const { request, enqueued, first, second } = await requestWithRetry(rig, "parent");
      expect(new Set([request, enqueued, first, second].map(traceId)).size).toBe(1);
      expect(enqueued.parentSpanContext?.spanId).toBe(spanId(request));
      expect([first, second].map((span) => span.parentSpanContext?.spanId)).toEqual([
        spanId(enqueued),
        spanId(enqueued),
      ]);
      expect([linksOf(first), linksOf(second)]).toEqual([[], [["previous_attempt", traceId(first), spanId(first)]]]);
    });

    test("relation link: each attempt is a new trace, linked to the enqueue span", async ({ rig }) => {
      const { request, enqueued, first, second } = await requestWithRetry(rig, "link");
      expect(new Set([request, first, second].map(traceId)).size).toBe(3);
      expect([first.parentSpanContext, second.parentSpanContext]).toEqual([undefined, undefined]);
      const toEnqueue = ["enqueue", traceId(enqueued), spanId(enqueued)];
      const toFirst = ["previous_attempt", traceId(first), spanId(first)];
      expect([linksOf(first), linksOf(second)]).toEqual([[toEnqueue], [toEnqueue, toFirst]]);
    });

    test("relation none: each attempt is a new trace, linked to the previous attempt only", async ({ rig }) => {
      const { request, first, second } = await requestWithRetry(rig, "none");
      expect(new Set([request, first, second].map(traceId)).size).toBe(3);
      expect([first.parentSpanContext, second.parentSpanContext]).toEqual([undefined, undefined]);
      expect([linksOf(first), linksOf(second)]).toEqual([[], [["previous_attempt", traceId(first), spanId(first)]]]);
    });

    test("enqueue and attempt have the attributes of the contract, and no others", async ({ rig }) => {
      const tasks = rig.manager();
      const task = tasks.task({ name: "send-email", retries: 2 }, function sendEmail() {});
      const id = await tasks.addTask(task, [], { tags: { plan: "pro" } });
      await rig.finish(tasks);
      const both = { "task.id": id, "task.name": "send-email", "task.engine": name, "task.tag.plan": "pro" };
      const enqueued = rig.span("enqueue send-email");
      const attempt = rig.span("process send-email");
      expect([enqueued.kind, attempt.kind]).toEqual([SpanKind.PRODUCER, SpanKind.CONSUMER]);
      expect(enqueued.attributes).toEqual({ ...both, ...messaging("enqueue", "send", id) });
      expect(attempt.attributes).toEqual({
        ...both,
        ...messaging("process", "process", id),
        "task.attempt": 0,
        "task.max_attempts": 3,
        "task.wait.duration": expect.any(Number),
        "task.outcome": "success",
        "code.function.name": "sendEmail",
      });
    });

    test("only a failed attempt has status ERROR, and one exception event", async ({ rig }) => {
      const { first, second } = await requestWithRetry(rig, "parent");
      expect(first.status).toEqual({ code: SpanStatusCode.ERROR, message: "not yet" });
      expect(first.events.map((event) => [event.name, event.attributes?.["exception.type"]])).toEqual([
        ["exception", "RangeError"],
      ]);
      expect(first.attributes).toMatchObject({ "task.outcome": "retry", "error.type": "RangeError" });
      expect([second.status.code, second.events]).toEqual([SpanStatusCode.UNSET, []]);
      expect(second.attributes["error.type"]).toBeUndefined();
    });

    test("the wait counts from when the attempt was due: after its delay, and after the retry's", async ({ rig }) => {
      const tasks = rig.manager();
      const starts: number[] = [];
      const task = tasks.task({ name: "waits", retries: 1, delay: 700 }, () => {
        starts.push(Date.now());
        if (getTaskContext()?.attempt === 0) throw new Error("not yet");
      });
      await tasks.work();
      const before = Date.now();
      await tasks.addTask(task, [], { delay: 700 });
      await tasks.idle();
      const due = [before + 700, (starts[0] ?? 0) + 700];
      const longest = due.map((at, attempt) => (starts[attempt] ?? 0) - at);
      const waits = rig.named("process waits").map(({ attributes }) => Number(attributes["task.wait.duration"]) * 1000);
      expect(waits).toHaveLength(2);
      // a millisecond for rounding
      for (const [attempt, wait] of waits.entries()) {
        expect(wait).toBeGreaterThanOrEqual(0);
        expect(wait).toBeLessThanOrEqual(Math.max(0, longest[attempt] ?? 0) + 1);
        expect(wait).toBeLessThan(capabilities.granularity + 3_000);
      }
    });

    test("the wait of a task that was held up counts from when it was enqueued", async ({ rig }) => {
      const tasks = rig.manager({ concurrency: 1 });
      const [started, gate] = [deferred(), deferred()];
      const busy = tasks.task("busy", () => {
        started.resolve();
        return gate.promise;
      });
      const next = tasks.task("next", () => {});
      await tasks.work();
      await tasks.addTask(busy);
      await started.promise;
      await tasks.addTask(next);
      const added = Date.now();
      await wait(200);
      const heldUp = Date.now() - added;
      gate.resolve();
      await tasks.idle();
      expect(Number(rig.span("process next").attributes["task.wait.duration"]) * 1000).toBeGreaterThanOrEqual(heldUp);
    });
  });
}

interface Retried {
  readonly request: Span;
  readonly enqueued: ReadableSpan;
  readonly first: ReadableSpan;
  readonly second: ReadableSpan;
}

/** Runs one task that fails once, enqueued inside a request's span. */
async function requestWithRetry(rig: Rig, relation: TaskRelation): Promise<Retried> {
  const tasks = rig.manager({ relation });
  const flaky = tasks.task({ name: "flaky", retries: 1 }, () => {
    if (getTaskContext()?.attempt === 0) throw new RangeError("not yet");
  });
  const request = await rig.provider.getTracer("test").startActiveSpan("request", async (span) => {
    await tasks.addTask(flaky);
    span.end();
    return span;
  });
  await rig.finish(tasks);
  const [first, second, ...others] = rig.named("process flaky");
  if (first === undefined || second === undefined || others.length > 0) throw new Error("expected two attempts");
  return { request, enqueued: rig.span("enqueue flaky"), first, second };
}

function spanId(span: Pick<Span, "spanContext">): string {
  return span.spanContext().spanId;
}

function traceId(span: Pick<Span, "spanContext">): string {
  return span.spanContext().traceId;
}

function linksOf({ links }: { readonly links: readonly Link[] }): unknown {
  return links.map(({ context, attributes }) => [attributes?.["task.link"], context.traceId, context.spanId]);
}
