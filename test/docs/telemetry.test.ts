import type { AttributeValue } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { enqueueTask, getTaskContext, runAttempt, taskLog } from "otel-taskflow";
import { withTask } from "otel-taskflow/bullmq";
import { describe, expect, test, vi } from "vitest";
import * as semconv from "../../src/core/semconv.js";
import { startLogs } from "../support/logs.js";
import { codeIn, tableRows } from "../support/markdown.js";
import { startMetrics } from "../support/metrics.js";
import { createTasks } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";

const DOC = "docs/telemetry.md";
const attributeRows = tableRows(DOC, "Attributes of spans").filter(([, type]) =>
  /^(string|int|double|boolean)/.test(type ?? ""),
);
const documented = new Map(
  attributeRows.map(([name, type, on]) => [codeIn(name)[0] ?? "", { type: type ?? "", on: on ?? "" }]),
);
const tagged = (name: string): string => name.replace(/^task\.tag\..+/, "task.tag.<key>");

function constants(prefix: RegExp): string[] {
  return Object.entries(semconv).flatMap(([name, value]) => (prefix.test(name) ? [String(value)] : []));
}

function typeOf(value: AttributeValue | undefined): string[] {
  return typeof value === "number" ? ["double, s", ...(Number.isInteger(value) ? ["int"] : [])] : [typeof value];
}

// Telemetry of every kind, really emitted: both doors, a broker, a child, retries, a give-up, a full span.
async function emitEverything(): Promise<{ spans: ReadableSpan[]; metricNames: string[]; recordKeys: string[] }> {
  const telemetry = startTelemetry();
  const records = await startLogs();
  const { collect } = startMetrics();
  vi.stubEnv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "logs/dup");
  const tasks = createTasks({ relation: "link", logs: "both" });
  const child = tasks.task("child", () => Promise.reject(new RangeError("no")));
  const parent = tasks.task({ name: "parent", retries: 1, delay: 1 }, async function parentFn() {
    for (let line = 0; line < 101; line += 1) taskLog("line", { n: line });
    if (getTaskContext()?.attempt === 0) throw new Error("once");
    await tasks.addTask(child);
  });
  await tasks.addTask(parent, [], { tags: { plan: "pro" } });
  await tasks.idle();
  const route = { engine: "sqs", system: "aws_sqs", destination: "jobs" };
  await enqueueTask({ funcName: "job", ...route }, () => Promise.reject(new Error("down"))).catch(() => {});
  await runAttempt({ funcName: "job", redelivered: true, ...route }, () => {});
  const tick = { name: "tick", data: {}, opts: {}, timestamp: 1, attemptsMade: 0, repeatJobKey: "every-hour" };
  await withTask(async (_job: typeof tick) => {})(tick);
  vi.unstubAllEnvs();
  const recordKeys = records.getFinishedLogRecords().flatMap(({ attributes }) => Object.keys(attributes));
  return { spans: telemetry.spans(), metricNames: [...(await collect()).keys()], recordKeys };
}

describe("docs/telemetry.md", () => {
  test("documents every attribute name there is, and no other", () => {
    const elsewhere = [
      "task.link",
      "task.log.level",
      "task.log.truncated",
      "exception.type",
      "exception.message",
      "exception.stacktrace",
    ];
    const read = ["http.response.status_code", "http.status_code"];
    const ofMetrics = ["server.address", "server.port"];
    const names = constants(/^ATTR_/).filter((name) => ![...elsewhere, ...read, ...ofMetrics].includes(name));
    expect([...documented.keys()].toSorted()).toEqual([...names, "task.tag.<key>"].toSorted());
    const events = tableRows(DOC, "Events").flatMap(([, , attributes]) => codeIn(attributes));
    expect([...events, "task.link"].toSorted()).toEqual(elsewhere.toSorted());
    const metrics = tableRows(DOC, "Metrics").flatMap(([, , , attributes]) => codeIn(attributes));
    expect(metrics).toEqual(expect.arrayContaining(ofMetrics));
  });

  test("documents every span, outcome, link and metric name there is", () => {
    const spans = tableRows(DOC, "Spans").flatMap((row) => (row.length === 4 ? codeIn(row[2]) : []));
    expect(spans).toEqual([`${semconv.OPERATION_ENQUEUE} {task.name}`, `${semconv.OPERATION_PROCESS} {task.name}`]);
    expect(tableRows(DOC, "Links").flatMap(([, , value]) => codeIn(value))).toEqual(constants(/^LINK_/));
    const metrics = tableRows(DOC, "Metrics").flatMap(([name]) => codeIn(name));
    expect(metrics.toSorted()).toEqual(constants(/^METRIC_/).toSorted());
  });

  test("documents what is really emitted, where and of which type, and all of it is emitted", async () => {
    const { spans } = await emitEverything();
    const seen = new Set<string>();
    for (const { name, attributes } of spans) {
      const place = name.startsWith("enqueue") ? "enqueue" : "attempt";
      for (const [key, value] of Object.entries(attributes)) {
        const entry = documented.get(tagged(key));
        expect([key, entry?.on.split(", ")]).toEqual([key, expect.arrayContaining([place])]);
        expect(typeOf(value)).toContain(entry?.type);
        seen.add(`${place} ${tagged(key)}`);
      }
    }
    const promised = [...documented].flatMap(([name, { on }]) => on.split(", ").map((place) => `${place} ${name}`));
    expect([...seen].toSorted()).toEqual(promised.toSorted());
  });

  test("documents the metrics that are emitted, with their attributes", async () => {
    const { metricNames } = await emitEverything();
    expect(metricNames.toSorted()).toEqual(constants(/^METRIC_/).toSorted());
  });

  test("documents the attributes of log records", async () => {
    const { recordKeys } = await emitEverything();
    const [row] = tableRows(DOC, "Log records").filter(([field]) => field === "attributes");
    const allowed = [...codeIn(row?.[1]), "n", "exception.type", "exception.message", "exception.stacktrace"];
    expect([...new Set(recordKeys.map(tagged))].toSorted()).toEqual(allowed.toSorted());
  });
});
