import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { vi } from "vitest";
import type { ReceivedSpan, Telemetry } from "../e2e/otlp-json.js";
import { startReceiver } from "../e2e/receiver.js";
import { createDatabase, dropDatabase } from "../engines/graphile-worker/database.js";
import type { Version } from "../engines/graphile-worker/versions.js";
import { type Application, createApplication } from "../instrumentation/application.js";
import { type PartnerCall, startPartner } from "./partner.js";
import { type Dump, prepareRows, readJobs, readRows, takeRedis } from "./stores.js";

const SOURCES = fileURLToPath(new URL("./service/", import.meta.url));
/** The jobs that the partner has no time for at first, so that they are tried again. */
const TRIED_TWICE = ["receipt", "resize", "invoice", "statement"];
/** How often the partner hears of each job, which is once for each attempt that gets so far. */
const CALLS = {
  receipt: 2,
  created: 1,
  paid: 1,
  shipped: 1,
  page: 2,
  album: 1,
  digest: 1,
  resize: 2,
  archive: 1,
  sweep: 1,
  invoice: 2,
  reminder: 1,
};
const CALLS_OF_PG_BOSS = { statement: 2, export: 2, nightly: 1 };
const DONE_WITHIN_MS = 120_000;
const ORDER = 7;

export type Format = "esm" | "cjs";

interface Built {
  readonly type: "module" | "commonjs";
  readonly preload: readonly string[];
  readonly packages: Readonly<Record<string, string>>;
  readonly graphile: Version;
  /** It is an ES module that asks for Node.js 22, and so nothing for a service that Node.js 20 runs as CommonJS. */
  readonly hasPgBoss: boolean;
}

/** How a service is built and started in each module system, and which versions of the libraries it has. */
export const FORMATS: Readonly<Record<Format, Built>> = {
  esm: { type: "module", preload: ["--import", "./otel.mjs"], packages: {}, graphile: "0.18", hasPgBoss: true },
  cjs: {
    ...{ type: "commonjs", preload: ["--require", "./otel.js"] },
    // the newer graphile-worker is an ES module that asks for Node.js 22; a copy of Nest's packages finds that of BullMQ
    packages: { bullmq: "bullmq5", "@nestjs": "@nestjs", "graphile-worker": "graphile-worker-016" },
    graphile: "0.16",
    hasPgBoss: false,
  },
};

/** What a step of the service saw. */
export interface Step {
  readonly job: string;
  readonly id: string;
  readonly where: "handler" | "helper" | "listener";
  readonly task?: { readonly taskId: string; readonly funcName: string; readonly attempt: number };
  readonly traceId?: string;
}

/** A line of the service's logger. */
export interface Line {
  readonly msg: string;
  readonly job?: string;
  readonly level: number;
  readonly port?: number;
  readonly task_name?: string;
  readonly task_attempt?: number;
}

/** All that came of one order. */
export interface Served {
  readonly exitCode: number | null;
  readonly stderr: string;
  readonly steps: readonly Step[];
  readonly lines: readonly Line[];
  readonly calls: readonly PartnerCall[];
  readonly telemetry: Telemetry;
  readonly redis: Dump;
  /** What graphile-worker stored. */
  readonly rows: Dump;
  /** What pg-boss has stored. */
  readonly jobs: Dump;
}

/** Makes an application of the service, compiled as its owners would. */
export async function buildService(format: Format): Promise<Application> {
  const application = await createApplication(FORMATS[format].packages, {});
  const outdir = join(application.folder, format);
  const entryPoints = [`${SOURCES}**/*.ts`];
  await build({ entryPoints, outdir, outbase: SOURCES, format, platform: "node", target: "node20" });
  for (const name of ["crontab", "otel.mjs"]) cpSync(`${SOURCES}${name}`, join(outdir, name));
  writeFileSync(join(outdir, "package.json"), JSON.stringify({ type: FORMATS[format].type }));
  return application;
}

/** Has the service, with or without the line for tasks, serve one order; then stops it. */
export async function serveOrder(
  { folder }: Application,
  format: Format,
  { redis, postgres, withLine }: { redis: string; postgres: string; withLine: boolean },
): Promise<Served> {
  const prefix = `adoption-${crypto.randomUUID()}`;
  const [receiver, partner, url] = await Promise.all([
    startReceiver(),
    startPartner(TRIED_TWICE),
    createDatabase(postgres),
  ]);
  await prepareRows(url, FORMATS[format].graphile);
  mkdirSync(join(folder, "steps"), { recursive: true });
  const steps = join(folder, "steps", prefix);
  const service = start(join(folder, format), FORMATS[format].preload, {
    ...{ REDIS_URL: redis, DATABASE_URL: url, PREFIX: prefix, PARTNER_URL: partner.url, STEPS: steps },
    ...{
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_SERVICE_NAME: "shop",
      ...(withLine && { TASKS: "yes" }),
      ...(FORMATS[format].hasPgBoss && { PG_BOSS: "yes" }),
    },
  });
  try {
    await placeOrder(await service.port());
    const isDone = (): void => {
      checkCalls(partner.calls, FORMATS[format].hasPgBoss ? { ...CALLS, ...CALLS_OF_PG_BOSS } : CALLS);
      // a sandbox is ended with its worker, whatever it has not sent by then
      if (withLine) checkSandboxes(receiver.received.spans);
    };
    await vi.waitFor(isDone, { timeout: DONE_WITHIN_MS, interval: 50 });
    service.child.kill("SIGTERM");
    await service.ended;
  } finally {
    service.child.kill("SIGKILL");
    partner.close();
    receiver.close();
  }
  const rows = await readRows(url);
  const jobs = FORMATS[format].hasPgBoss ? await readJobs(url) : { entries: [], carriers: 0 };
  await dropDatabase(postgres, url);
  return {
    ...{ exitCode: service.child.exitCode, stderr: service.stderr(), lines: service.lines },
    steps: existsSync(steps) ? linesOf<Step>(readFileSync(steps, "utf8")) : [],
    ...{ calls: partner.calls, telemetry: receiver.received, redis: await takeRedis(redis, prefix), rows, jobs },
  };
}

interface Started {
  readonly child: ChildProcess;
  readonly lines: readonly Line[];
  readonly ended: Promise<unknown>;
  stderr(): string;
  /** The port that it says it listens on. */
  port(): Promise<number>;
}

function start(cwd: string, preload: readonly string[], more: Record<string, string>): Started {
  const { PATH, HOME } = process.env;
  const settings = {
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_NODE_RESOURCE_DETECTORS: "env",
    OTEL_LOGS_EXPORTER: "none",
  };
  // the deprecation of module.register in newer releases of Node.js is OpenTelemetry's to see to
  const env = { PATH, HOME, NODE_NO_WARNINGS: "1", ...settings, ...more };
  const child = spawn(process.execPath, [...preload, "server.js"], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const lines: Line[] = [];
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (chunk) => {
    stderr += chunk;
  });
  createInterface(child.stdout).on("line", (line) => lines.push(...linesOf<Line>(line)));
  const ended = once(child, "close");
  return {
    ...{ child, lines, ended, stderr: () => stderr },
    port: () =>
      vi.waitFor(
        () => {
          const port = lines.find(({ msg }) => msg === "listening")?.port;
          if (port === undefined) throw new Error(`the service does not listen: ${stderr}`);
          return port;
        },
        { timeout: DONE_WITHIN_MS, interval: 20 },
      ),
  };
}

async function placeOrder(port: number): Promise<void> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ order: ORDER });
  await fetch(`http://127.0.0.1:${port}/orders`, { method: "POST", headers, body });
}

function checkCalls(calls: readonly PartnerCall[], expected: Readonly<Record<string, number>>): void {
  const missing = Object.entries(expected).filter(
    ([name, count]) => calls.filter(({ job }) => job === name).length < count,
  );
  if (missing.length > 0) throw new Error(`the partner still waits for ${missing.join()}`);
}

function checkSandboxes(spans: readonly ReceivedSpan[]): void {
  const sent = spans.filter(({ name }) => name === "continue page").length;
  if (sent < CALLS.page) throw new Error(`${sent} spans have come from sandboxes`);
}

// What is no JSON is graphile-worker's own logger.
function linesOf<T>(text: string): T[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
}
