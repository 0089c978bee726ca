import type { Histogram, MetricData } from "@opentelemetry/sdk-metrics";
import { type Carrier, enqueueTask, runAttempt, type TaskRelation } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { startLogs } from "../support/logs.js";
import { startMetrics } from "../support/metrics.js";
import { startTelemetry } from "../support/telemetry.js";

const ROUTE = { engine: "sqs", system: "aws_sqs", destination: "jobs" };
const down = (): Promise<never> => Promise.reject(new RangeError("down"));

interface Point {
  readonly attributes: Record<string, unknown>;
  readonly value: number | Histogram;
}

function pointsOf(metric: MetricData | undefined): Point[] {
  return (metric?.dataPoints ?? []) as Point[];
}

/** The attributes of each of a metric's series, and how often it was recorded. */
function countsIn(metrics: Map<string, MetricData>, name: string): [Record<string, unknown>, number][] {
  return pointsOf(metrics.get(name)).map(({ attributes, value }) => [
    attributes,
    typeof value === "number" ? value : value.count,
  ]);
}

const sends = { "messaging.system": "aws_sqs", "messaging.operation.name": "enqueue" };
const processes = { "messaging.system": "aws_sqs", "messaging.operation.name": "process" };
const destination = { "messaging.destination.name": "jobs" };
const failed = { "error.type": "RangeError" };

describe("where a broker is involved, the conventions' metrics are reported too", () => {
  test("of each send, failed ones included", async () => {
    const { collect } = startMetrics();
    await enqueueTask({ funcName: "job", ...ROUTE }, () => {});
    await enqueueTask({ funcName: "job", ...ROUTE }, down).catch(() => {});
    const metrics = await collect();
    const expected: [object, number][] = [
      [{ ...sends, ...destination }, 1],
      [{ ...sends, ...destination, ...failed }, 1],
    ];
    expect(countsIn(metrics, "messaging.client.sent.messages")).toEqual(expected);
    expect(countsIn(metrics, "messaging.client.operation.duration")).toEqual(
      expected.map(([attributes, count]) => [{ ...attributes, "messaging.operation.type": "send" }, count]),
    );
  });

  test("of each delivery, and how long it was processed, as the attempt's own metric says", async () => {
    const { collect } = startMetrics();
    await runAttempt({ funcName: "job", ...ROUTE }, () => {});
    await runAttempt({ funcName: "job", ...ROUTE }, down).catch(() => {});
    const metrics = await collect();
    expect(countsIn(metrics, "messaging.client.consumed.messages")).toEqual([[{ ...processes, ...destination }, 2]]);
    expect(countsIn(metrics, "messaging.process.duration")).toEqual([
      [{ ...processes, ...destination }, 1],
      [{ ...processes, ...destination, ...failed }, 1],
    ]);
    const [own, theirs] = ["task.attempt.duration", "messaging.process.duration"].map((name) => metrics.get(name));
    const sums = (metric: MetricData | undefined): unknown[] =>
      pointsOf(metric).map(({ value }) => (typeof value === "number" ? value : value.sum));
    expect(sums(theirs)).toEqual(sums(own));
  });

  test("with the conventions' boundaries and units", async () => {
    const { collect } = startMetrics();
    await enqueueTask({ funcName: "job", ...ROUTE }, () => {});
    await runAttempt({ funcName: "job", ...ROUTE }, () => {});
    const metrics = await collect();
    for (const name of ["messaging.client.operation.duration", "messaging.process.duration"]) {
      const [point] = pointsOf(metrics.get(name));
      const boundaries = typeof point?.value === "object" ? point.value.buckets.boundaries : [];
      expect([boundaries[0], boundaries.at(-1), boundaries.length]).toEqual([0.005, 10, 14]);
      expect(metrics.get(name)?.descriptor.unit).toBe("s");
    }
    expect(metrics.get("messaging.client.sent.messages")?.descriptor.unit).toBe("{message}");
  });

  test("and not where there is none", async () => {
    const { collect } = startMetrics();
    await enqueueTask({ funcName: "job", engine: "mine" }, () => {});
    await runAttempt({ funcName: "job", engine: "mine" }, () => {});
    expect([...(await collect()).keys()].filter((name) => name.startsWith("messaging."))).toEqual([]);
  });
});

test("every metric of a task names its queue, where there is one", async () => {
  const { collect } = startMetrics();
  await enqueueTask({ funcName: "job", ...ROUTE }, () => {});
  await runAttempt({ funcName: "job", dueAt: Date.now(), ...ROUTE }, () => {});
  const own = [...(await collect())].filter(([name]) => name.startsWith("task."));
  expect(own).toHaveLength(5);
  for (const [name, metric] of own) {
    for (const { attributes } of pointsOf(metric)) expect([name, attributes]).toMatchObject([name, destination]);
  }
});

describe("the attempt of a message is linked to its creation context", () => {
  async function linksOf(relation: TaskRelation, route: object): Promise<unknown[]> {
    const telemetry = startTelemetry();
    const carrier = await enqueueTask({ funcName: "job", relation, ...route }, (made: Carrier) => made);
    await runAttempt({ carrier, ...route }, () => {});
    const enqueue = telemetry.span("enqueue job").spanContext().spanId;
    const { links } = telemetry.span("process job");
    return links.map(({ attributes, context }) => [attributes?.["task.link"], context.spanId === enqueue]);
  }

  test.each<[string, TaskRelation, object, unknown[]]>([
    ["under its enqueuer, with a broker", "parent", ROUTE, [["enqueue", true]]],
    ["in a trace of its own, with a broker", "link", ROUTE, [["enqueue", true]]],
    ["but not where it is to have none", "none", ROUTE, []],
    ["nor under its enqueuer, where there is no broker", "parent", {}, []],
  ])("%s", async (_, relation, route, links) => {
    expect(await linksOf(relation, route)).toEqual(links);
  });

  test("and to nothing where nobody told of it", async () => {
    const telemetry = startTelemetry();
    await runAttempt({ funcName: "job", ...ROUTE }, () => {});
    expect(telemetry.span("process job").links).toEqual([]);
  });
});

test("spans, records and metrics name the version of the conventions that they follow", async () => {
  const [telemetry, logs, { collect, scopes }] = [startTelemetry(), await startLogs(), startMetrics()];
  process.env.OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN = "logs";
  await runAttempt({ funcName: "job" }, down).catch(() => {});
  delete process.env.OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN;
  await collect();
  const told = [
    telemetry.span("process job").instrumentationScope.schemaUrl,
    logs.getFinishedLogRecords()[0]?.instrumentationScope.schemaUrl,
    scopes()[0]?.schemaUrl,
  ];
  expect(new Set(told)).toEqual(new Set([expect.stringMatching(/^https:\/\/opentelemetry\.io\/schemas\/1\.\d+\.0$/)]));
});
