import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { parseBaggage } from "./servers.js";

const APP = fileURLToPath(new URL("./instrumented-app.ts", import.meta.url));

interface Report {
  readonly tags: unknown;
  readonly received: readonly IncomingHttpHeaders[];
  readonly spans: readonly { readonly name: string; readonly attributes: Record<string, unknown> }[];
}

/** Starts the service in a process of its own, sends it one request, and returns what it has to say. */
async function serveOne(headers: Record<string, string>): Promise<Report> {
  const child = spawn(process.execPath, ["--import", "tsx", APP], {
    stdio: ["ignore", "pipe", "inherit"],
    env: quiet(),
  });
  onTestFinished(() => stop(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? "null");
  const { url } = (await next()) as { url: string };
  const response = await fetch(url, { method: "POST", headers: { ...headers, connection: "close" } });
  expect(response.status).toBe(200);
  return (await next()) as Report;
}

function quiet(): NodeJS.ProcessEnv {
  const none = { OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none", OTEL_LOGS_EXPORTER: "none" };
  return { ...process.env, ...none, OTEL_SDK_DISABLED: "false", NODE_OPTIONS: "" };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, "exit");
}

test("with NodeSDK and its instrumentations, a spoofed tag gets nowhere and the rest arrives", async () => {
  const baggage = "task.tag.plan=enterprise,task%2Etag.plan=enterprise,task.tag.source=enterprise,other=kept";
  const { tags, received, spans } = await serveOne({ baggage });
  expect(tags).toEqual({ source: "api" });
  expect(received.map((headers) => parseBaggage(headers.baggage))).toEqual([
    { other: "kept", "task.tag.source": "api" },
  ]);
  const own = spans.filter(({ name }) => name.endsWith("report"));
  expect(own.map(({ attributes }) => attributes["task.tag.source"])).toEqual(["api", "api"]);
  expect(JSON.stringify(spans)).not.toContain("enterprise");
});
