import type { TaskRelation } from "otel-taskflow";
import { beforeAll, describe, expect, it } from "vitest";
import type { ReceivedSpan } from "./otlp-json.js";
import { attemptOf, baggageAt, only, outline } from "./queries.js";
import { type SentRequest, startServices } from "./services.js";

describe("a task that is not to be part of its request's trace", () => {
  const sent = new Map<TaskRelation, SentRequest>();
  let spans: ReceivedSpan[];
  beforeAll(async () => {
    const services = await startServices();
    for (const relation of ["link", "none"] as const) {
      sent.set(relation, await services.request(relation, { baggage: "tenant=acme" }));
    }
    ({ spans } = await services.stop());
  });

  const enqueueOf = (relation: TaskRelation): ReceivedSpan =>
    only(spans, ({ name }) => name === `enqueue report.${relation}`);
  const attemptsOf = (relation: TaskRelation): ReceivedSpan[] =>
    [0, 1].map((attempt) => attemptOf(spans, sent.get(relation)?.taskId ?? "", attempt));
  const inTrace = (wanted: string | undefined): ReceivedSpan[] => spans.filter(({ traceId }) => traceId === wanted);
  const linksOf = ({ links }: ReceivedSpan): unknown[] =>
    links.map(({ traceId, spanId, attributes }) => [attributes["task.link"], traceId, spanId]);

  describe.each(["link", "none"] as const)("by relation %s", (relation) => {
    it("leaves the enqueue span in the request's trace, and nothing after it", () => {
      const request = sent.get(relation);
      expect(inTrace(request?.traceId)).toHaveLength(2);
      expect(outline(spans, request?.spanId)).toEqual([
        "report-service: server POST",
        `  report-service: producer enqueue report.${relation}`,
      ]);
    });

    it("starts a trace with each attempt, which leads to the second service", () => {
      const attempts = attemptsOf(relation);
      expect(new Set(attempts.map(({ traceId }) => traceId)).size).toBe(2);
      expect(attempts.map(({ traceId }) => outline(inTrace(traceId), undefined))).toEqual(
        [0, 1].map((attempt) => [
          `report-service: consumer process report.${relation} (attempt ${attempt})`,
          "  report-service: client GET",
          "    accounts-service: server GET",
        ]),
      );
    });
  });

  it("is linked to its enqueue span and its previous attempt by relation link", () => {
    const [first] = attemptsOf("link");
    const enqueue = ["enqueue", enqueueOf("link").traceId, enqueueOf("link").spanId];
    expect(attemptsOf("link").map(linksOf)).toEqual([
      [enqueue],
      [enqueue, ["previous_attempt", first?.traceId, first?.spanId]],
    ]);
  });

  it("is linked to its previous attempt alone by relation none", () => {
    const [first] = attemptsOf("none");
    expect(attemptsOf("none").map(linksOf)).toEqual([[], [["previous_attempt", first?.traceId, first?.spanId]]]);
  });

  it.each([
    ["link", { "task.tag.plan": "pro", tenant: "acme" }],
    ["none", { "task.tag.plan": "pro" }],
  ] as const)("sends baggage to the second service by relation %s: %o", (relation, baggage) => {
    const traces = attemptsOf(relation).map(({ traceId }) => inTrace(traceId));
    const calls = traces.flat().filter(({ kind }) => kind === "server");
    expect(calls.map(baggageAt)).toEqual([baggage, baggage]);
  });
});
