import { readFileSync } from "node:fs";
import { SpanKind } from "@opentelemetry/api";
import { enqueueTask, runAttempt, taskEvent, taskLog } from "otel-taskflow";
import { describe, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import * as semconv from "../../src/core/semconv.js";
import { Recorder } from "../../src/testing/recorder.js";
import { startLogs } from "../support/logs.js";
import { codeIn, tableRows } from "../support/markdown.js";
import { startTelemetry } from "../support/telemetry.js";
import { adviseMeasurement, adviseRecord, adviseSpan } from "./live-check.js";
import { readRegistry, registryOf } from "./registry.js";

const DOC = "docs/telemetry.md";
const registry = readRegistry();
const ROUTE = { engine: "sqs", system: "aws_sqs", destination: "jobs" };

function constants(prefix: string): string[] {
  return Object.entries(semconv).flatMap(([name, value]) => (name.startsWith(prefix) ? [String(value)] : []));
}

describe("the registry", () => {
  test("depends on the version of the conventions that telemetry names", () => {
    const { dependencies } = parse(readFileSync("telemetry/manifest.yaml", "utf8"));
    expect(dependencies.map((one: { schema_url: string }) => one.schema_url)).toEqual([semconv.SCHEMA_URL]);
  });

  test("has the version of the package, by which weaver tells one registry from another", () => {
    const { schema_url: url } = parse(readFileSync("telemetry/manifest.yaml", "utf8"));
    expect(url.split("/").at(-1)).toBe(semconv.SCOPE_VERSION);
  });

  test("knows every attribute name there is, and no other of this library's", () => {
    const read = ["http.response.status_code", "http.status_code"];
    const names = constants("ATTR_").filter((name) => !read.includes(name));
    expect([...registry.attributes.keys()].toSorted()).toEqual([...names, "task.tag"].toSorted());
  });

  test("knows every metric and event name there is, and no other", () => {
    const metrics = registry.groups.flatMap(({ metric_name: name }) => name ?? []);
    expect(metrics.toSorted()).toEqual(constants("METRIC_").toSorted());
    const events = registry.groups.flatMap(({ type, name }) => (type === "event" && name !== undefined ? [name] : []));
    expect(events.toSorted()).toEqual(constants("EVENT_").toSorted());
  });

  test("says of everything what it is, and how stable", () => {
    const own = registry.groups.filter(({ brief }) => brief !== undefined);
    const attributes = own.flatMap((group) => (group.attributes ?? []).filter(({ id }) => id !== undefined));
    expect(attributes.filter(({ type, brief, stability }) => !type || !brief || stability !== "development")).toEqual(
      [],
    );
    const signals = own.filter(({ type }) => type !== "attribute_group");
    expect(signals.filter(({ brief, stability }) => !brief || stability !== "development")).toEqual([]);
  });

  test("has the values of its enumerations from the library", () => {
    expect(registry.attributes.get("task.link")).toEqual(constants("LINK_"));
    expect(registry.attributes.get("task.trigger")).toEqual(constants("TRIGGER_"));
    const outcomes = tableRows(DOC, "Attributes of spans")
      .filter((row) => row.length === 2)
      .flatMap(([name]) => codeIn(name));
    expect(registry.attributes.get("task.outcome")).toEqual(outcomes.filter((name) => name !== "task.outcome"));
  });

  test("says the same as the tables of docs/telemetry.md: types of attributes, and units and kinds of metrics", () => {
    const typeIn = (type: string): string => type.replace(/, s$/, "");
    const rows = tableRows(DOC, "Attributes of spans").filter(([, type]) =>
      /^(string|int|double|boolean)/.test(type ?? ""),
    );
    for (const [cell, type = ""] of rows) {
      const name = codeIn(cell)[0]?.replace(".<key>", "") ?? "";
      const registered = registry.attributes.get(name);
      const shown = Array.isArray(registered) ? "string" : String(registered).replace(/^template\[(.*)\]$/, "$1");
      expect([name, shown]).toEqual([name, typeIn(type)]);
    }
    for (const [cell, instrument = "", unit] of tableRows(DOC, "Metrics")) {
      const [name] = codeIn(cell);
      const group = registry.groups.find(({ metric_name: metric }) => metric === name);
      expect([name, group?.instrument, group?.unit]).toEqual([
        name,
        instrument.replace("-down ", "down"),
        codeIn(unit)[0],
      ]);
    }
  });
});

describe("what is emitted by hand is all registered", () => {
  test("spans and metrics, with a broker and without", async () => {
    const recorder = new Recorder();
    const { tracerProvider, meterProvider } = recorder;
    const fail = (): Promise<never> => Promise.reject(new RangeError("no"));
    for (const route of [{}, ROUTE]) {
      const info = { funcName: "job", tags: { plan: "pro" }, tracerProvider, meterProvider, ...route };
      await enqueueTask(info, () => {});
      await enqueueTask(info, fail).catch(() => {});
      await runAttempt({ ...info, attempt: 1, maxAttempts: 3, redelivered: true, dueAt: Date.now() }, fail).catch(
        () => {},
      );
      await runAttempt(info, () => {});
    }
    const advice = [
      ...recorder.spans().flatMap((span) => adviseSpan(registry, span)),
      ...recorder.measurements.flatMap((measurement) => adviseMeasurement(registry, measurement)),
    ];
    expect(advice).toEqual([]);
    expect(new Set(recorder.measurements.map(({ name }) => name)).size).toBe(constants("METRIC_").length);
  });

  test("log records that have an event name", async () => {
    startTelemetry();
    const exporter = await startLogs();
    process.env.OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN = "logs";
    onTestFinished(() => void delete process.env.OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN);
    const fail = (): Promise<never> => Promise.reject(new RangeError("no"));
    for (const route of [{}, ROUTE]) {
      const info = { funcName: "job", tags: { plan: "pro" }, ...route };
      await enqueueTask(info, fail).catch(() => {});
      await runAttempt(info, fail).catch(() => {});
    }
    await runAttempt({ funcName: "job", logs: "record" }, () => taskLog("a line", { n: 1 }));
    const records = exporter.getFinishedLogRecords();
    expect(records.map(({ eventName }) => eventName)).toEqual([
      "task.enqueue.exception",
      "task.process.exception",
      "messaging.send.exception",
      "messaging.process.exception",
      undefined,
    ]);
    expect(records.flatMap((record) => adviseRecord(registry, record))).toEqual([]);
  });
});

describe("a departure from the registry is noticed", () => {
  const attributes = { "task.id": "7", "task.name": "job", "task.attempt": 0, "task.outcome": "success" };
  const span = { name: "process job", kind: SpanKind.CONSUMER, attributes };
  const metric = { name: "task.wait.duration", instrument: "histogram", unit: "s", attributes: { "task.name": "job" } };

  test.each<[string, Record<string, unknown>, string]>([
    [
      "an attribute that is not registered",
      { "task.color": "red" },
      "span.task.process has task.color, which is not registered for it",
    ],
    ["one of another type", { "task.attempt": "0" }, "span.task.process has task.attempt of another type: string"],
    [
      "a value that is none of an enumeration's",
      { "task.outcome": "done" },
      "span.task.process has task.outcome of another type: string",
    ],
    [
      "a required one that is missing",
      { "task.name": undefined },
      "span.task.process lacks task.name, which is required",
    ],
  ])("%s", (_, wrong, advice) => {
    expect(adviseSpan(registry, span)).toEqual([]);
    const made = Object.entries({ ...attributes, ...wrong }).filter(([, value]) => value !== undefined);
    expect(adviseSpan(registry, { ...span, attributes: Object.fromEntries(made) as typeof attributes })).toEqual([
      advice,
    ]);
  });

  test("a link or an event of another kind, or one that lacks what is required", () => {
    const [link, line] = [{ "task.link": "sibling" }, { "task.log.level": 9, "task.color": "red", color: "red" }];
    const events = [
      { name: "a line", attributes: line },
      { name: "exception", attributes: { "exception.type": "Error" } },
    ];
    expect(adviseSpan(registry, { ...span, links: [{ attributes: link }], events })).toEqual([
      "a link of span.task.process has task.link of another type: string",
      "an event of span.task.process has task.log.level of another type: number",
      "an event of span.task.process has task.color, which is not registered",
      "event.exception lacks exception.message, which is required",
    ]);
  });

  test("a span of another kind, or another name", () => {
    expect(adviseSpan(registry, { ...span, kind: SpanKind.INTERNAL })).toEqual([
      'the span "process job" is of kind INTERNAL',
    ]);
    expect(adviseSpan(registry, { ...span, name: "do job" })).toEqual(['the span "do job" is not registered']);
  });

  test("a metric of another unit or kind, or one that is not registered", () => {
    expect(adviseMeasurement(registry, metric)).toEqual([]);
    expect(adviseMeasurement(registry, { ...metric, unit: "ms" })).toEqual([
      "the metric task.wait.duration has the unit ms",
    ]);
    expect(adviseMeasurement(registry, { ...metric, instrument: "gauge" })).toEqual([
      "the metric task.wait.duration is a gauge",
    ]);
    expect(adviseMeasurement(registry, { ...metric, name: "task.color" })).toEqual([
      "the metric task.color is not registered",
    ]);
  });

  test("an event of a name of one's own, which is its user's to register", async () => {
    startTelemetry();
    const exporter = await startLogs();
    await runAttempt({ funcName: "job", logs: "record" }, () => taskEvent("order.paid"));
    const [record] = exporter.getFinishedLogRecords();
    expect(record && adviseRecord(registry, record)).toEqual(["the event order.paid is not registered"]);
  });

  test("a registry that lacks a group", () => {
    const few = registryOf(registry.groups.filter(({ id }) => id !== "span.task.process"));
    expect(adviseSpan(few, span)).toEqual(['the span "process job" is not registered']);
  });
});
