import { diag, SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import { TaskTreeExporter, type TreeReadableSpan } from "otel-taskflow/sdk";
import { afterEach, expect, test, vi } from "vitest";
import { isTaskConfigError } from "../../src/core/errors.js";
import { treeHarness, unseen } from "./tree-exporter-harness.js";

const HOSTILE = "a\u001b[2J\r\nb\u009b31m\u202ec\u0007\u2028d";

afterEach(() => diag.disable());

function bare(spanId: string, parts: Partial<TreeReadableSpan> = {}): TreeReadableSpan {
  return {
    name: spanId,
    kind: SpanKind.INTERNAL,
    spanContext: () => ({ traceId: "f".repeat(32), spanId, traceFlags: TraceFlags.SAMPLED }),
    startTime: [1, 0],
    endTime: [1, 5_000_000],
    status: { code: SpanStatusCode.UNSET },
    attributes: {},
    links: [],
    events: [],
    ...parts,
  };
}

test("names, tags, messages and fields cannot move the cursor, break the line or turn the text around", async () => {
  const { start, at, flushed } = treeHarness();
  const attributes = { "task.attempt": 0, "task.outcome": HOSTILE, [`task.tag.${HOSTILE}`]: HOSTILE };
  const span = start(HOSTILE, 0, { kind: SpanKind.CONSUMER, attributes });
  span.addEvent(HOSTILE, { "task.log.level": HOSTILE, [HOSTILE]: HOSTILE, list: [HOSTILE] }, at(1));
  span.addEvent("exception", { "exception.type": HOSTILE, "exception.message": HOSTILE }, at(2));
  span.addLink({ context: unseen(HOSTILE), attributes: { "task.link": HOSTILE } });
  span.setStatus({ code: SpanStatusCode.ERROR, message: HOSTILE }).end(at(3));
  const text = await flushed();
  expect(text).toContain("✗ a␛[2J b�31m�c␇�d: a␛[2J");
  expect(text).not.toMatch(/[^\P{C}\n]|\p{Zl}/u);
  expect(text.trimEnd().split("\n")).toHaveLength(7);
});

test("a log message of a megabyte takes one line", async () => {
  const { start, at, flushed } = treeHarness();
  start("root", 0)
    .addEvent("x".repeat(1_000_000), { more: "y".repeat(1_000_000) }, at(1))
    .end(at(2));
  expect((await flushed()).length).toBeLessThan(500);
});

test("names that are property names of every object do no harm", async () => {
  const { attempt, start, at, flushed } = treeHarness({ color: true });
  attempt(0, 0, 1, { attributes: { "task.outcome": "constructor" } });
  start("root", 0).addEvent("line", { "task.log.level": "constructor" }, at(1)).end(at(2));
  const text = await flushed();
  expect(text).toContain("? constructor");
  expect(text).not.toContain("undefined");
});

test("a task log named exception is a log line", async () => {
  const { start, at, flushed } = treeHarness();
  start("root", 0).addEvent("exception", { "task.log.level": "info" }, at(1)).end(at(2));
  expect(await flushed()).toContain("info  exception\n");
});

test("a span whose parent was never seen stands at the top", async () => {
  const { span, flushed } = treeHarness();
  span("orphan", 0, 1, { parent: unseen("a") });
  expect(await flushed()).toMatch(/^orphan /m);
});

test("understands the parent of an SDK 1 span", async () => {
  const { exporter, written } = treeHarness();
  exporter.export([bare("child", { parentSpanId: "root" }), bare("root")], () => {});
  await exporter.forceFlush();
  expect(written.join("")).toMatch(/^root [\s\S]*^└─ child /m);
});

test("prints every span once when parents form a cycle", async () => {
  const { exporter, written } = treeHarness();
  const cycle = [bare("one", { parentSpanId: "two" }), bare("two", { parentSpanId: "one" })];
  exporter.export([...cycle, bare("self", { parentSpanId: "self" }), bare("self")], () => {});
  await exporter.forceFlush();
  expect(
    written
      .join("")
      .match(/one|two|self/g)
      ?.sort(),
  ).toEqual(["one", "self", "self", "two"]);
});

test("prints every span once when span ids repeat", async () => {
  const { exporter, written } = treeHarness();
  const child = bare("child", { parentSpanId: "twin", startTime: [1, 2_000_000] });
  exporter.export([bare("twin"), bare("twin", { parentSpanId: "twin" }), child], () => {});
  await exporter.forceFlush();
  expect(
    written
      .join("")
      .match(/twin|child/g)
      ?.sort(),
  ).toEqual(["child", "twin", "twin"]);
});

test("a trace that took no time has a bar", async () => {
  const { span, flushed } = treeHarness();
  span("instant", 0, 0);
  expect(await flushed()).toMatch(/1 span · 0\n.*\ninstant ▏ +0\n/);
});

test("prints a chain of 5,000 spans and a fan-out of 5,000 spans", async () => {
  const { exporter, written } = treeHarness();
  const spans = Array.from({ length: 5_000 }, (_, index) => bare(`c${index}`, { parentSpanId: `c${index - 1}` }));
  const wide = Array.from({ length: 4_999 }, (_, index) => bare(`w${index}`, { parentSpanId: "c0" }));
  exporter.export([...spans, ...wide], () => {});
  await exporter.forceFlush();
  expect(written.join("").trimEnd().split("\n")).toHaveLength(2 + 9_999);
});

test("times that make no sense still print", async () => {
  const { exporter, written } = treeHarness();
  const spans = [bare("nan", { startTime: [Number.NaN, 0] }), bare("past", { startTime: [9, 0] }), bare("fine")];
  exporter.export(spans, () => {});
  await exporter.forceFlush();
  expect(written.join("")).toMatch(/3 spans · 9s\n[\s\S]*nan [\s\S]*fine [\s\S]*past /);
  expect(written.join("")).not.toMatch(/NaN|-/);
});

test("holds 10,000 spans and prints the oldest trace beyond that", () => {
  const { span, written } = treeHarness();
  span("oldest", 0, 1);
  const parent = span("second", 0, 1);
  for (let count = 2; count < 10_000; count++) span("more", 0, 1, { parent });
  expect(written).toEqual([]);
  span("one too many", 0, 1, { parent });
  expect(written).toHaveLength(1);
  expect(written[0]).toContain("oldest");
});

test("a stream that throws reaches diag, never the application", async () => {
  const error = vi.fn();
  diag.setLogger({ error, warn: vi.fn(), info: vi.fn(), debug: vi.fn(), verbose: vi.fn() });
  const broken = new Error("EPIPE");
  const { span, provider } = treeHarness({ stream: { write: () => { throw broken; } } }); // biome-ignore format: one line
  span("root", 0, 1);
  await provider.forceFlush();
  await provider.shutdown();
  expect(error).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("could not print"), broken);
});

test("a failure during export is reported with code 1 and leaves the other spans alone", async () => {
  const { exporter, written } = treeHarness();
  const broken = new Error("getter");
  const report = vi.fn();
  const bad = bare("bad", { spanContext: () => { throw broken; } }); // biome-ignore format: one line
  exporter.export([bad, bare("good")], report);
  await exporter.forceFlush();
  expect(report).toHaveBeenCalledExactlyOnceWith({ code: 1, error: broken });
  expect(written.join("")).toContain("good");
});

test("a stream that throws during export is reported with code 1", () => {
  const broken = new Error("EPIPE");
  const exporter = new TaskTreeExporter({ stream: { write: () => { throw broken; } } }); // biome-ignore format: one line
  const report = vi.fn();
  exporter.export(
    Array.from({ length: 10_001 }, (_, index) => bare(`s${index}`)),
    report,
  );
  expect(report).toHaveBeenCalledExactlyOnceWith({ code: 1, error: broken });
});

test.each([
  [{ width: 39 }, "width must be an integer from 40 to 500, got 39"],
  [{ width: 80.5 }, "width must be an integer from 40 to 500, got 80.5"],
  [{ quietTime: -1 }, "quietTime must be a number of ms from 0 to 60000, got -1"],
  [{ quietTime: Number.NaN }, "quietTime must be a number of ms from 0 to 60000, got NaN"],
  [{ color: "always" }, "color must be a boolean, got a string of 6 characters"],
  [{ stream: {} }, "stream must have a write() method, got an object"],
])("refuses %j", (options, message) => {
  const create = () => new TaskTreeExporter(options as never);
  expect(create).toThrow(`TaskTreeExporter: ${message}`);
  try {
    create();
  } catch (error) {
    expect(isTaskConfigError(error)).toBe(true);
  }
});
