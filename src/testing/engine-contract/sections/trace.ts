import { setTimeout as wait } from "node:timers/promises";
import { type Attributes, type Link, type Span, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { getTaskContext, type TaskRelation } from "../../../index.js";
import type { RecordedSpan } from "../../recorded-span.js";
import { between, equal, includes } from "../assertions.js";
import { every, type Section } from "../case.js";
import { deferred } from "../doubles.js";
import type { Rig } from "../rig.js";

export const traceCases: Section = {
  title: "traces",
  cases: [
    every("relation parent: request, enqueue and every attempt are one trace", async (rig) => {
      const { request, enqueued, first, second } = await requestWithRetry(rig, "parent");
      equal(new Set([request, enqueued, first, second].map(traceId)).size, 1);
      equal(enqueued.parentSpanContext?.spanId, spanId(request));
      const parents = [first, second].map((span) => span.parentSpanContext?.spanId);
      equal(parents, [spanId(enqueued), spanId(enqueued)]);
      // the enqueue span is a broker's message's creation context, and linked to as such
      const toEnqueue = rig.engine.system === undefined ? [] : [["enqueue", traceId(enqueued), spanId(enqueued)]];
      const toFirst = ["previous_attempt", traceId(first), spanId(first)];
      equal([linksOf(first), linksOf(second)], [toEnqueue, [...toEnqueue, toFirst]]);
    }),

    every("relation link: each attempt is a new trace, linked to the enqueue span", async (rig) => {
      const { request, enqueued, first, second } = await requestWithRetry(rig, "link");
      equal(new Set([request, first, second].map(traceId)).size, 3);
      equal([first.parentSpanContext, second.parentSpanContext], [undefined, undefined]);
      const toEnqueue = ["enqueue", traceId(enqueued), spanId(enqueued)];
      const toFirst = ["previous_attempt", traceId(first), spanId(first)];
      equal([linksOf(first), linksOf(second)], [[toEnqueue], [toEnqueue, toFirst]]);
    }),

    every("relation none: each attempt is a new trace, linked to the previous attempt only", async (rig) => {
      const { request, first, second } = await requestWithRetry(rig, "none");
      equal(new Set([request, first, second].map(traceId)).size, 3);
      equal([first.parentSpanContext, second.parentSpanContext], [undefined, undefined]);
      equal([linksOf(first), linksOf(second)], [[], [["previous_attempt", traceId(first), spanId(first)]]]);
    }),

    every("enqueue and attempt have the attributes of the contract, and no others", async (rig) => {
      const tasks = rig.manager();
      const task = tasks.task({ name: "send-email", retries: 2 }, function sendEmail() {});
      const id = await tasks.addTask(task, [], { tags: { plan: "pro" } });
      await rig.finish(tasks);
      const both = { "task.id": id, "task.name": "send-email", "task.engine": rig.engine.name, "task.tag.plan": "pro" };
      const [enqueued, attempt] = [rig.span("enqueue send-email"), rig.span("process send-email")];
      equal([enqueued.kind, attempt.kind], [SpanKind.PRODUCER, SpanKind.CONSUMER]);
      equal(withoutVarying(enqueued), { ...both, ...messaging(rig, "enqueue", "send", id) });
      equal(withoutVarying(attempt), {
        ...both,
        ...messaging(rig, "process", "process", id),
        "task.attempt": 0,
        "task.max_attempts": 3,
        "task.wait.duration": "number",
        "task.outcome": "success",
        "code.function.name": "sendEmail",
      });
    }),

    every("only a failed attempt has status ERROR, and one exception event", async (rig) => {
      const { first, second } = await requestWithRetry(rig, "parent");
      equal(first.status, { code: SpanStatusCode.ERROR, message: "not yet" });
      const events = first.events.map((event) => [event.name, event.attributes["exception.type"]]);
      equal(events, [["exception", "RangeError"]]);
      includes(first.attributes, { "task.outcome": "retry", "error.type": "RangeError" });
      equal([second.status.code, second.events], [SpanStatusCode.UNSET, []]);
      equal(second.attributes["error.type"], undefined);
    }),

    every("the wait counts from when the attempt was due: after its delay, and after the retry's", async (rig) => {
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
      equal(waits.length, 2);
      for (const [attempt, ms] of waits.entries()) {
        // a millisecond for rounding
        between(ms, 0, Math.max(0, longest[attempt] ?? 0) + 1);
        between(ms, 0, rig.engine.capabilities.granularity + 3_000);
      }
    }),

    every("the wait of a task that was held up counts from when it was enqueued", async (rig) => {
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
      const waited = Number(rig.span("process next").attributes["task.wait.duration"]) * 1000;
      between(waited, heldUp, Number.POSITIVE_INFINITY);
    }),
  ],
};

interface Retried {
  readonly request: Span;
  readonly enqueued: RecordedSpan;
  readonly first: RecordedSpan;
  readonly second: RecordedSpan;
}

/** Runs one task that fails once, enqueued inside a request's span. */
async function requestWithRetry(rig: Rig, relation: TaskRelation): Promise<Retried> {
  const tasks = rig.manager({ relation });
  const flaky = tasks.task({ name: "flaky", retries: 1 }, () => {
    if (getTaskContext()?.attempt === 0) throw new RangeError("not yet");
  });
  const request = await rig.tracerProvider.getTracer("test").startActiveSpan("request", async (span) => {
    await tasks.addTask(flaky);
    span.end();
    return span;
  });
  await rig.finish(tasks);
  const [first, second, ...others] = rig.named("process flaky");
  if (first === undefined || second === undefined || others.length > 0) throw new Error("expected two attempts");
  return { request, enqueued: rig.span("enqueue flaky"), first, second };
}

/** The attributes that a span has besides where the engine has a broker. */
function messaging({ engine }: Rig, operation: string, type: string, id: string): Attributes {
  if (engine.system === undefined) return {};
  return {
    "messaging.system": engine.system,
    "messaging.operation.name": operation,
    "messaging.operation.type": type,
    "messaging.message.id": id,
    "messaging.destination.name": "string",
  };
}

/** A span's attributes, with its type in place of each value that differs from store to store or from run to run. */
function withoutVarying({ attributes }: RecordedSpan): Attributes {
  const varying = ["messaging.destination.name", "task.wait.duration"];
  const entries = Object.entries(attributes);
  return Object.fromEntries(entries.map(([key, value]) => [key, varying.includes(key) ? typeof value : value]));
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
