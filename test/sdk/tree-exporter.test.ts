import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { afterEach, expect, test, vi } from "vitest";
import { treeHarness, unseen } from "./tree-exporter-harness.js";

const ESC = "\u001b";

afterEach(() => vi.unstubAllEnvs());

test("prints a request, its task, both attempts, log lines and the exception on one time axis", async () => {
  const { start, enqueue, span, at, flushed } = treeHarness();
  const request = span("POST /report", 0, 42, { kind: SpanKind.SERVER });
  const tags = { "task.tag.plan": "enterprise", "task.tag.source": "api" };
  const parent = enqueue(4, { parent: request, attributes: tags });
  const attributes = { "task.id": "t1", "task.name": "send", "task.max_attempts": 3, ...tags };
  const consumer = { parent, kind: SpanKind.CONSUMER, attributes };
  const first = start("process send", 60, consumer).setAttributes({ "task.attempt": 0, "task.wait.duration": 0.055 });
  first.addEvent("Generating report", { "task.log.level": "info", user_id: 42 }, at(61));
  span("GET", 80, 350, { parent: first, kind: SpanKind.CLIENT });
  first.addEvent("exception", { "exception.type": "TypeError", "exception.message": "upstream said 503" }, at(372));
  first.setStatus({ code: SpanStatusCode.ERROR }).setAttributes({ "task.outcome": "retry", "task.retry.delay": 1 });
  first.end(at(372));
  const second = start("process send", 1376, consumer).setAttributes({ "task.attempt": 1, "task.outcome": "success" });
  second.addEvent("Served from the cache", { "task.log.level": "warn", hint: "two words" }, at(1400));
  second.end(at(1825));
  await expect(flushed()).resolves.toBe(FULL_TREE);
});

const FULL_TREE = `\
trace 00000000000000000000000000000002 · 5 spans · 1.82s
                   0           500ms       1s          1.5s
POST /report       █                                              42ms
└─ enqueue send    ▏                                               1ms
   │ plan=enterprise source=api
   ├─ process send ░████████························             312ms  attempt 0 of 3 ↻ retry in 1s
   │  │ waited 55ms
   │  │   +61ms  info  Generating report user_id=42
   │  └─ GET         ██████                                      270ms
   │     +372ms  ✗ TypeError: upstream said 503
   └─ process send                                  ███████████  449ms  attempt 1 of 3 ✓ success
          +1.4s  warn  Served from the cache hint="two words"

`;

test.each([
  ["success", "✓ success"],
  ["failure", "✗ failure"],
  ["error", "✗ error"],
  ["cancelled", "⊘ cancelled"],
  ["deferred", "→ deferred"],
])("says how an attempt ended: %s", async (outcome, shown) => {
  const { attempt, flushed } = treeHarness();
  attempt(2, 0, 10, { attributes: { "task.outcome": outcome } });
  expect(await flushed()).toContain(`attempt 2 of 3 ${shown}\n`);
});

test("leaves the number of attempts out where nobody knows it", async () => {
  const { span, flushed } = treeHarness();
  const attributes = { "task.attempt": 1, "task.outcome": "error" };
  span("process send", 0, 10, { kind: SpanKind.CONSUMER, attributes });
  expect(await flushed()).toContain("attempt 1 ✗ error");
});

test("an HTTP call inside a task, carrying the task's attributes, is no attempt", async () => {
  const { span, flushed } = treeHarness();
  const attributes = { "task.id": "t1", "task.name": "send", "task.attempt": 0, "task.tag.plan": "free" };
  span("GET", 0, 10, { kind: SpanKind.CLIENT, attributes });
  expect(await flushed()).not.toMatch(/attempt|plan/);
});

test("draws the wait before an attempt's bar and the retry delay after it", async () => {
  const { span, attempt, flushed } = treeHarness();
  const parent = span("root", 0, 400);
  attempt(0, 100, 200, {
    parent,
    attributes: { "task.wait.duration": 0.1, "task.outcome": "retry", "task.retry.delay": 0.1 },
  });
  const axis = (await flushed()).split("\n").find((line) => line.includes("process send"));
  const [, waited = "", ran = "", retried = ""] = /(░+)(█+)(·+) /.exec(axis ?? "") ?? [];
  expect(ran.length).toBeGreaterThan(5);
  expect(Math.abs(waited.length - ran.length)).toBeLessThan(2);
  expect(Math.abs(retried.length - ran.length)).toBeLessThan(2);
});

test("shows the tags once for a task, beneath its enqueue span", async () => {
  const { enqueue, attempt, flushed } = treeHarness();
  const attributes = { "task.tag.plan": "free" };
  const parent = enqueue(0, { attributes });
  attempt(0, 2, 3, { parent, attributes });
  expect((await flushed()).match(/plan=free/g)).toHaveLength(1);
});

test("says how many log lines an attempt left out, how long it waited, and that it was redelivered", async () => {
  const { attempt, flushed } = treeHarness();
  attempt(0, 0, 10, { attributes: { "task.log.dropped": 7, "task.wait.duration": 90, "task.redelivered": true } });
  expect(await flushed()).toContain("\n  waited 1m30s · redelivered · 7 more log lines left out\n");
});

test("an attempt in a trace of its own says which trace and span it came from", async () => {
  const { enqueue, attempt, flushed } = treeHarness();
  const enqueued = enqueue(0);
  const { traceId, spanId } = enqueued.spanContext();
  attempt(0, 5, 9, { links: [{ context: enqueued.spanContext(), attributes: { "task.link": "enqueue" } }] });
  const previous = unseen("b");
  attempt(1, 20, 29, { links: [{ context: previous, attributes: { "task.link": "previous_attempt" } }] });
  const text = await flushed();
  expect(text.match(/^trace /gm)).toHaveLength(3);
  expect(text).toContain(`\n  linked to enqueue: trace ${traceId} span ${spanId}\n`);
  expect(text).toContain(`\n  linked to previous attempt: trace ${previous.traceId} span ${previous.spanId}\n`);
});

test("a batch's many links take a few lines", async () => {
  const { span, flushed } = treeHarness();
  span("batch", 0, 1, { links: [..."23456789abc"].map((digit) => ({ context: unseen(digit) })) });
  const text = await flushed();
  expect(text.match(/linked to trace/g)).toHaveLength(4);
  expect(text).toContain("and 7 more links");
});

test("does not mention a wait of a few milliseconds", async () => {
  const { attempt, flushed } = treeHarness();
  attempt(0, 5, 10, { attributes: { "task.wait.duration": 0.004 } });
  expect(await flushed()).not.toContain("waited");
});

test("does not repeat a link that stays inside the tree", async () => {
  const { enqueue, attempt, flushed } = treeHarness();
  const parent = enqueue(0);
  attempt(0, 5, 9, { parent, links: [{ context: parent.spanContext() }] });
  expect(await flushed()).not.toContain("linked");
});

test("places a log line between the child spans by its time", async () => {
  const { start, span, at, flushed } = treeHarness();
  const parent = start("work", 0);
  span("second", 20, 29, { parent });
  span("first", 1, 9, { parent });
  parent.addEvent("halfway", {}, at(15));
  parent.end(at(30));
  const order = (await flushed()).match(/first|halfway|second/g);
  expect(order).toEqual(["first", "halfway", "second"]);
});

test("orders log lines by their time, not by their arrival", async () => {
  const { start, at, flushed } = treeHarness();
  start("work", 0).addEvent("later", {}, at(9)).addEvent("sooner", {}, at(3)).end(at(10));
  expect((await flushed()).match(/sooner|later/g)).toEqual(["sooner", "later"]);
});

test("a failed span without an exception shows its error type and status message", async () => {
  const { start, at, flushed } = treeHarness();
  start("GET", 0, { attributes: { "error.type": "503" } })
    .setStatus({ code: SpanStatusCode.ERROR, message: "bad gateway" })
    .end(at(5));
  const text = await flushed();
  expect(text).toMatch(/5ms {2}✗ 503\n/);
  expect(text).toContain("+5ms  ✗ bad gateway\n");
});

test("an exception that SpanEventBridge put on a span is shown once, as any other", async () => {
  const { start, at, flushed } = treeHarness();
  start("work", 0)
    .addEvent("task.process.exception", { "exception.type": "TypeError", "exception.message": "no" }, at(4))
    .setStatus({ code: SpanStatusCode.ERROR, message: "no" })
    .end(at(5));
  const [, ...lines] = (await flushed()).split("\n").filter((line) => line.includes("✗"));
  expect(lines).toEqual([expect.stringMatching(/\+4ms {2}✗ TypeError: no$/)]);
});

test("no colours when the stream is not a terminal", async () => {
  const { attempt, flushed } = treeHarness();
  attempt(0, 0, 10);
  expect(await flushed()).not.toContain(ESC);
});

test.each([
  ["", true],
  ["1", false],
])("on a terminal with NO_COLOR=%j colours are used: %s", async (value, used) => {
  vi.stubEnv("NO_COLOR", value);
  const { attempt, flushed } = treeHarness({ env: { isTTY: true } });
  attempt(0, 0, 10);
  expect((await flushed()).includes(`${ESC}[32m✓ success${ESC}[0m`)).toBe(used);
});

test("the color option decides, whatever the stream is", async () => {
  const { attempt, flushed } = treeHarness({ color: true });
  attempt(0, 0, 10);
  expect(await flushed()).toContain(`${ESC}[32m`);
});

test.each([
  [{ width: 60 }, 60],
  [{ env: { columns: 72 } }, 72],
  [{ env: { columns: 7 } }, 40],
  [{}, 100],
])("fills the width and never exceeds it: %j", async (options, width) => {
  const { start, at, flushed } = treeHarness(options);
  start("n".repeat(90), 0).addEvent("m".repeat(300), {}, at(1)).end(at(5));
  const text = await flushed();
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBe(width);
  expect(text).toMatch(/^n+… █+ {4}5ms$/m);
});

test("keeps the columns aligned under wide characters", async () => {
  const { span, flushed } = treeHarness();
  const parent = span("注文", 0, 10);
  span("ascii", 0, 10, { parent });
  const [wide = "", narrow = ""] = (await flushed()).split("\n").filter((line) => line.includes("█"));
  expect(wide.indexOf("█") + 2).toBe(narrow.indexOf("█"));
});

test("keeps names readable twenty levels deep", async () => {
  const { span, flushed } = treeHarness();
  let parent = span("level 0", 0, 10);
  for (let level = 1; level <= 20; level++) parent = span(`level ${level}`, 0, 10, { parent });
  expect(await flushed()).toContain("└─ level 20 ");
});
