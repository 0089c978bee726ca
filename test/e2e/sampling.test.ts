import { beforeAll, describe, expect, it } from "vitest";
import type { ReceivedSpan } from "./otlp-json.js";
import { attemptOf, outline, pointsOf } from "./queries.js";
import { type Services, startServices } from "./services.js";

// Of all traces a sampler leaves out most; here all, so that the test knows which.
describe("keepRetries around a sampler that leaves traces out", () => {
  const leftOutBy = {
    "the sampler": "",
    "the caller": `00-${"a".repeat(32)}-${"b".repeat(16)}-00`,
  };
  const taskIds = new Map<string, string>();
  let arrived: Awaited<ReturnType<Services["stop"]>>;
  beforeAll(async () => {
    const services = await startServices({ SAMPLING_RATIO: "0" });
    for (const [who, traceparent] of Object.entries(leftOutBy)) {
      taskIds.set(who, (await services.request("parent", { traceparent })).taskId);
    }
    arrived = await services.stop();
  });

  describe.each(Object.keys(leftOutBy))("when the choice was made by %s", (who) => {
    const retryOf = (): ReceivedSpan => attemptOf(arrived.spans, taskIds.get(who) ?? "", 1);

    it("keeps the retry and where it leads, and nothing of what came before", () => {
      const { traceId, parentSpanId } = retryOf();
      const trace = arrived.spans.filter((span) => span.traceId === traceId);
      expect(trace).toHaveLength(3);
      expect(outline(trace, parentSpanId)).toEqual([
        "report-service: consumer process report.parent (attempt 1)",
        "  report-service: client GET",
        "    accounts-service: server GET",
      ]);
    });

    it("keeps the retry's parent and link, though what they point to is missing", () => {
      const { traceId, parentSpanId, links } = retryOf();
      expect(links).toEqual([expect.objectContaining({ traceId, attributes: { "task.link": "previous_attempt" } })]);
      const missing = [parentSpanId, links[0]?.spanId];
      expect(missing).toEqual([expect.stringMatching(/^[0-9a-f]{16}$/), expect.stringMatching(/^[0-9a-f]{16}$/)]);
      expect(arrived.spans.filter(({ spanId }) => missing.includes(spanId))).toEqual([]);
    });

    it("leaves log records as they are: the first attempt's arrive too, with its ids", () => {
      const { traceId, spanId, links } = retryOf();
      const lines = arrived.logs.filter((log) => log.traceId === traceId && log.body === "asking for orders");
      expect(lines.map(({ attributes, ...line }) => [attributes["task.attempt"], line.spanId])).toEqual([
        [0, links[0]?.spanId],
        [1, spanId],
      ]);
    });
  });

  it("leaves metrics as they are: every attempt counts", () => {
    const points = pointsOf(arrived.metrics, "task.attempt.duration");
    expect(points.map(({ attributes, count }) => [attributes["task.outcome"], count])).toEqual([
      ["retry", 2],
      ["success", 2],
    ]);
  });
});
