import { existsSync, readFileSync } from "node:fs";
import { runAttempt, taskLogFields } from "otel-taskflow";
import { taskLogPrefix } from "otel-taskflow/console";
import { expect, onTestFinished, test } from "vitest";
import { type ReceivedSpan, startOtlpReceiver } from "../examples/otlp-receiver.js";
import { blocksOf } from "../support/pages.js";
import { startTelemetry } from "../support/telemetry.js";
import { type Snippet, snippetsOf } from "./page-snippets.js";

type Line = Record<string, unknown>;

const page = readFileSync("docs/logging.md", "utf8");
const blocks = blocksOf(page);
const shown = blocks.filter(({ language }) => language === "text").map(({ text }) => text);
const snippets = snippetsOf("docs/logging.md");
const [patched, own, pino, winston, bunyan, nest, hooks, prefix, datadog, loki] = snippets;

const task = { task_id: expect.any(String), task_name: "ship", task_attempt: 0 };

async function linesOf(snippet: Snippet | undefined, env?: Record<string, string>): Promise<Line[]> {
  const stdout = await snippet?.run(env);
  return (stdout ?? "")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** What differs from run to run, the same. */
function constant(output: string | undefined): string | undefined {
  return output?.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "an id").replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "a time");
}

test("there is a snippet for each logger, in this order", () => {
  expect(snippets.map(({ title }) => title)).toEqual([
    ...["otel-taskflow", "otel-taskflow", "pino", "winston", "bunyan", "@nestjs/common"],
    ...["@opentelemetry/instrumentation-pino", "otel-taskflow", "@opentelemetry/sdk-node", "@opentelemetry/sdk-node"],
  ]);
});

test("what the page shows of the console and of a prefix is what is printed", async () => {
  const outputs = await Promise.all([patched, own, prefix].map(async (snippet) => await snippet?.run()));
  const [first, second, , last] = shown;
  expect(outputs.map(constant)).toEqual([first, second, last].map(constant));
});

test("pino, winston and bunyan write both lines with the task's fields and their own", async () => {
  const [byPino, byWinston, byBunyan] = await Promise.all([pino, winston, bunyan].map((snippet) => linesOf(snippet)));
  expect(byPino).toMatchObject([
    { ...task, level: 30, msg: "Packing" },
    { ...task, level: 30, msg: "Shipped", parcel: "p-1" },
  ]);
  expect(byWinston).toEqual([
    { ...task, level: "info", message: "Packing", app: "shop" },
    { ...task, level: "info", message: "Shipped", app: "shop", parcel: "p-1" },
  ]);
  expect(byBunyan).toMatchObject([
    { ...task, level: 30, msg: "Packing", name: "shop" },
    { ...task, level: 30, msg: "Shipped", name: "shop", parcel: "p-1" },
  ]);
});

test("a Nest application writes the line that is shown", async () => {
  const [line] = (await linesOf(nest)).filter(({ context }) => context === "Shipping");
  const varying = { pid: expect.any(Number), timestamp: expect.any(Number), task_id: expect.any(String) };
  expect(line).toEqual({ ...JSON.parse(shown[2] ?? ""), ...varying });
});

test("the set-up with OpenTelemetry's instrumentations starts", async () => {
  expect(await hooks?.run()).toBe("");
});

/** What a snippet writes that sends its spans, and the attempt's span as it was sent. */
async function sentBy(snippet: Snippet | undefined): Promise<{ lines: Line[]; span: ReceivedSpan | undefined }> {
  const { endpoint, spans, close } = await startOtlpReceiver();
  onTestFinished(close);
  const lines = await linesOf(snippet, {
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  });
  return { lines, span: spans.find(({ name }) => name === "process ship") };
}

test("Datadog's names are the lower 64 bits of the sent span's ids, in decimal", async () => {
  const { lines, span } = await sentBy(datadog);
  const ids = [span?.traceId.slice(16), span?.spanId].map((id) => String(BigInt(`0x${id}`)));
  const time = expect.any(Number);
  const own = { ...task, status: "info", message: "Packing", time, pid: time, hostname: expect.any(String) };
  expect(lines).toEqual([{ ...own, "dd.trace_id": ids[0], "dd.span_id": ids[1] }]);
});

test("the names for Loki can be others", async () => {
  const { lines, span } = await sentBy(loki);
  const ids = { traceID: span?.traceId, spanID: span?.spanId };
  expect(lines).toEqual([{ ...task, ...ids, level: "info", message: "Packing", time: expect.any(String) }]);
});

test("Grafana's derived field finds the trace's id in lines of JSON and of text", async () => {
  startTelemetry();
  const [, pattern = ""] = /matcherRegex: '(.+)'/.exec(page) ?? [];
  const { json, text, id } = await runAttempt({ funcName: "ship" }, () => {
    const fields = taskLogFields();
    return {
      json: JSON.stringify({ level: 30, ...fields, msg: "a" }),
      text: `${taskLogPrefix()} Packing`,
      id: fields.trace_id,
    };
  });
  expect([json, text].map((line) => new RegExp(pattern).exec(line)?.[1])).toEqual([id, id]);
});

test("the queries for Loki name fields that a line has, as its JSON parser calls them", async () => {
  const fields = await runAttempt({ funcName: "ship", tags: { plan: "enterprise" } }, () => taskLogFields());
  const { task_tags: tags, ...others } = fields;
  const known = [...Object.keys(others), ...Object.keys(Object(tags)).map((key) => `task_tags_${key}`)];
  const named = page.match(/(?<=\| |")task_\w+(?=[ =])/g) ?? [];
  expect(new Set(named)).toEqual(new Set(["task_id", "task_name", "task_attempt", "task_tags_plan"]));
  expect(named.filter((name) => !known.includes(name))).toEqual([]);
});

test("every example that is named is there", () => {
  const examples = page.match(/examples\/\w+\.ts/g) ?? [];
  expect(examples.length).toBeGreaterThan(2);
  expect(examples.filter((path) => !existsSync(path))).toEqual([]);
});
