import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseBaggage } from "../http/servers.js";
import type { InstrumentedReport, InstrumentedSpan } from "./instrumented-report.js";
import { webWorlds } from "./worlds.js";

const APP = fileURLToPath(new URL("./instrumented-app.ts", import.meta.url));
const BAGGAGE = "task.tag.plan=enterprise,task%2Etag.plan=enterprise,task.tag.source=enterprise,other=kept";

const CLIENT_SPAN = "00f067aa0ba902b7";

let app: ChildProcess;
let report: InstrumentedReport;

// One request to each service, each with a trace of its own.
beforeAll(async () => {
  app = fork(APP, { execArgv: ["--import", "tsx"], env: quiet() });
  const [urls] = (await once(app, "message")) as [string[]];
  for (const [index, url] of urls.entries()) {
    const traceparent = `00-${traceOf(index)}-${CLIENT_SPAN}-01`;
    await (await fetch(url, { headers: { baggage: BAGGAGE, traceparent, connection: "close" } })).text();
  }
  app.send("stop");
  [report] = (await once(app, "message")) as [InstrumentedReport];
});

afterAll(async () => {
  if (app.exitCode !== null || app.signalCode !== null) return;
  app.kill();
  await once(app, "exit");
});

describe.each(webWorlds.map(({ title }, index) => ({ title, index })))("with $title", ({ title, index }) => {
  const spanBelow = (parentId: string | undefined): InstrumentedSpan | undefined =>
    report.spans.find((span) => span.traceId === traceOf(index) && span.parentId === parentId);

  test("the task's spans are below the server span of its request", () => {
    const server = spanBelow(CLIENT_SPAN);
    const enqueue = spanBelow(server?.spanId);
    const attempt = spanBelow(enqueue?.spanId);
    const call = spanBelow(attempt?.spanId);
    expect([server?.kind, enqueue?.name, attempt?.name, call?.kind]).toEqual([
      ...["SERVER", "enqueue report", "process report", "CLIENT"],
    ]);
  });

  test("a tag that the request claims reaches no task, no span and no call of the task", () => {
    expect(report.seen[title]).toEqual({ source: "api" });
    expect(parseBaggage(report.baggage[title])).toEqual({ other: "kept", "task.tag.source": "api" });
    expect(JSON.stringify(report.spans)).not.toContain("enterprise");
  });
});

function traceOf(index: number): string {
  return `4bf92f3577b34da6a3ce929d0e0e473${index}`;
}

function quiet(): NodeJS.ProcessEnv {
  const none = { OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none", OTEL_LOGS_EXPORTER: "none" };
  return { ...process.env, ...none, OTEL_SDK_DISABLED: "false", NODE_OPTIONS: "" };
}
