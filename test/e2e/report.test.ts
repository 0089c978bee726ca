import { beforeAll, describe, expect, it } from "vitest";
import type { ReceivedLog, ReceivedSpan } from "./otlp-json.js";
import { attemptOf, baggageAt, clientBelow, outline, pointsOf, taskAttributes } from "./queries.js";
import { type SentRequest, type Services, startServices } from "./services.js";

describe("a request to a service whose task calls a second service", () => {
  let sent: SentRequest;
  let arrived: Awaited<ReturnType<Services["stop"]>>;
  let attempts: [ReceivedSpan, ReceivedSpan];
  beforeAll(async () => {
    const services = await startServices();
    const baggage = "task.tag.plan=enterprise,task.tag.role=admin,tenant=acme";
    sent = await services.request("parent", { baggage });
    arrived = await services.stop();
    attempts = [attemptOf(arrived.spans, sent.taskId, 0), attemptOf(arrived.spans, sent.taskId, 1)];
  });

  const named = (name: string): ReceivedLog[] => arrived.logs.filter(({ body }) => body === name);
  const runningTask = (attempt: number): object => ({
    "task.id": sent.taskId,
    "task.name": "report.parent",
    "task.attempt": attempt,
    "task.tag.plan": "pro",
  });

  it("leaves both services to end cleanly, and without a word of complaint, once the task is done", () => {
    const clean = { exitCode: 0, stderr: "" };
    expect(arrived.endings).toEqual([clean, clean]);
  });

  it("is one trace, from the caller's span to the second service", () => {
    const trace = arrived.spans.filter(({ traceId }) => traceId === sent.traceId);
    expect(trace).toHaveLength(8);
    expect(outline(trace, sent.spanId)).toEqual([
      "report-service: server POST",
      "  report-service: producer enqueue report.parent",
      "    report-service: consumer process report.parent (attempt 0)",
      "      report-service: client GET",
      "        accounts-service: server GET",
      "    report-service: consumer process report.parent (attempt 1)",
      "      report-service: client GET",
      "        accounts-service: server GET",
    ]);
  });

  it("shows the failed attempt with one exception", () => {
    const [{ attributes, events, links, status }] = attempts;
    expect(attributes).toMatchObject({ "task.outcome": "retry", "task.retry.delay": 0.02, "error.type": "Error" });
    expect({ links, status }).toEqual({ links: [], status: "error" });
    expect(events.filter(({ name }) => name === "exception").map((event) => event.attributes)).toEqual([
      expect.objectContaining({ "exception.message": "the accounts service answered 503" }),
    ]);
  });

  it("shows the attempt that succeeded, linked to the one before", () => {
    const [{ traceId, spanId }, { attributes, events, links, status }] = attempts;
    expect(attributes).toMatchObject({ "task.outcome": "success", "task.max_attempts": 2 });
    expect(links).toEqual([
      expect.objectContaining({ traceId, spanId, attributes: { "task.link": "previous_attempt" } }),
    ]);
    expect(status).toBe("unset");
    expect(events.map(({ name }) => name)).toEqual(["Generating report"]);
  });

  it("says on the spans of the task's calls which task and attempt made them", () => {
    const clients = attempts.map((attempt) => clientBelow(arrived.spans, attempt));
    expect(clients.map(({ attributes }) => taskAttributes(attributes))).toEqual([runningTask(0), runningTask(1)]);
  });

  it("says nothing of the task on the spans of the second service and of the request", () => {
    const servers = arrived.spans.filter(({ kind }) => kind === "server");
    expect(servers).toHaveLength(3);
    expect(servers.map(({ attributes }) => taskAttributes(attributes))).toEqual([{}, {}, {}]);
  });

  it("sends the task's tags and the request's other baggage to the second service", () => {
    const calls = arrived.spans.filter(({ service, kind }) => service === "accounts-service" && kind === "server");
    const baggage = { "task.tag.plan": "pro", tenant: "acme" };
    expect(calls.map(baggageAt)).toEqual([baggage, baggage]);
  });

  it("gives the tags that the request's baggage claims to nothing", () => {
    const all = [...arrived.spans, ...arrived.logs].flatMap(({ attributes }) => Object.entries(attributes));
    const tags = all.filter(([key]) => key.startsWith("task.tag."));
    expect(new Set(tags.map(([key, value]) => `${key}=${value}`))).toEqual(new Set(["task.tag.plan=pro"]));
  });

  it("ties pino's lines to the attempts they were written in", () => {
    const lines = named("asking for orders");
    expect(lines).toEqual([0, 1].map(() => expect.objectContaining({ scope: "@opentelemetry/instrumentation-pino" })));
    expect(lines.map(({ traceId, spanId }) => [traceId, spanId])).toEqual(
      attempts.map(({ traceId, spanId }) => [traceId, spanId]),
    );
    expect(lines.map(({ attributes }) => attributes)).toEqual([runningTask(0), runningTask(1)]);
  });

  it("ties pino's lines about the request to no task", () => {
    const server = arrived.spans.find(({ parentSpanId }) => parentSpanId === sent.spanId);
    const [line] = named("incoming request").filter(({ service }) => service === "report-service");
    expect(line).toMatchObject({ traceId: sent.traceId, spanId: server?.spanId });
    expect(taskAttributes(line?.attributes ?? {})).toEqual({});
  });

  it("delivers a taskLog line as an event of the attempt and as a record on it", () => {
    const fields = { "task.log.level": "info", userId: 7 };
    const event = { name: "Generating report", attributes: fields };
    expect(attempts.map(({ events }) => events[0])).toEqual([event, event]);
    const records = named("Generating report");
    expect(records).toEqual(
      attempts.map(({ traceId, spanId }, attempt) => {
        const attributes = { ...fields, ...runningTask(attempt) };
        return { ...records[attempt], scope: "otel-taskflow", traceId, spanId, severityNumber: 9, attributes };
      }),
    );
  });

  const labels = { "task.name": "report.parent", "task.engine": "memory" };
  const success = { ...labels, "task.outcome": "success" };
  const retry = { ...labels, "task.outcome": "retry", "error.type": "Error" };

  it("counts one task, enqueued and finished, and no attempt still running", () => {
    const counted = (name: string): object =>
      pointsOf(arrived.metrics, name).map(({ attributes, value }) => ({ attributes, value }));
    expect(counted("task.enqueued")).toEqual([{ attributes: labels, value: 1 }]);
    expect(counted("task.finished")).toEqual([{ attributes: success, value: 1 }]);
    expect(counted("task.attempt.active")).toEqual([{ attributes: labels, value: 0 }]);
  });

  it("measures each attempt by its outcome, and what they waited", () => {
    const measured = (name: string): object =>
      pointsOf(arrived.metrics, name).map(({ attributes, count }) => ({ attributes, count }));
    expect(measured("task.attempt.duration")).toEqual([
      { attributes: retry, count: 1 },
      { attributes: success, count: 1 },
    ]);
    expect(measured("task.wait.duration")).toEqual([{ attributes: labels, count: 2 }]);
  });

  it.each(["task.attempt.duration", "task.wait.duration"])("measures %s in seconds, from 5 ms to an hour", (name) => {
    expect(arrived.metrics.find((metric) => metric.name === name)).toMatchObject({ unit: "s", scope: "otel-taskflow" });
    for (const { bounds, sum } of pointsOf(arrived.metrics, name)) {
      expect([bounds?.at(0), bounds?.at(-1)]).toEqual([0.005, 3_600]);
      expect(sum).toBeLessThan(10);
    }
  });
});
