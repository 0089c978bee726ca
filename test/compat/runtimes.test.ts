import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { startReceiver } from "./receiver.js";
import { otlpSpans, type VendorSpan } from "./vendor-spans.js";

const cell = join(process.env.COMPAT_CELLS ?? "", "runtimes");
const { platform, arch } = process;

interface Runtime {
  readonly name: string;
  /** Of a package in the cell, or absolute. */
  readonly command: string;
  readonly args: readonly string[];
}

// the packages of one platform hold the programs themselves
const BUN: Runtime = {
  name: "Bun",
  command: `@oven/bun-${platform}-${arch === "arm64" ? "aarch64" : arch}/bin/bun`,
  args: ["run"],
};
const DENO: Runtime = {
  name: "Deno",
  command: `@deno/${platform}-${arch}${platform === "linux" ? "-glibc" : ""}/deno`,
  args: ["run", "--allow-all"],
};
const RUNTIMES: readonly Runtime[] = [{ name: "Node", command: process.execPath, args: [] }, BUN, DENO];

interface CoreSpan extends Pick<VendorSpan, "traceId" | "start" | "duration" | "attributes" | "events"> {}

interface Printed {
  readonly seen: readonly unknown[];
  readonly spans: readonly CoreSpan[];
  readonly begin: number;
  readonly end: number;
}

test.each(RUNTIMES)("on $name the core keeps the context of a task, and tells its attempts", async (runtime) => {
  const printed = await runCore(runtime);
  checkAttempts(printed, printed.spans);
});

test("Deno's own OpenTelemetry is told the same", async () => {
  const receiver = await startReceiver();
  const otlp = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" };
  const printed = await runCore(DENO, { OTEL_DENO: "true", ...otlp });
  receiver.close();
  checkAttempts(printed, otlpSpans(receiver.requests));
});

function checkAttempts({ seen, begin, end }: Printed, spans: readonly CoreSpan[]): void {
  expect(seen).toEqual([0, 1].map((attempt) => ({ attempt, tags: { plan: "pro" } })));
  const attempts = spans.filter(({ attributes }) => "task.attempt" in attributes);
  expect(attempts).toMatchObject([
    { attributes: { "task.attempt": 0, "task.outcome": "retry" }, events: ["Charging", "exception"] },
    { attributes: { "task.attempt": 1, "task.outcome": "success" }, events: ["Charging"] },
  ]);
  expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
  for (const { start, duration } of attempts) {
    expect(duration).toBeGreaterThan(45);
    expect(start).toBeGreaterThan(begin - 1_000);
    expect(start + duration).toBeLessThan(end + 1_000);
  }
}

async function runCore({ command, args }: Runtime, env: Record<string, string> = {}): Promise<Printed> {
  const options = { cwd: cell, env: { ...process.env, ...env } };
  const path = resolve(cell, "node_modules", command);
  const { stdout, stderr } = await promisify(execFile)(path, [...args, "core.mjs"], options);
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}
