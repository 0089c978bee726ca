import { pathToFileURL } from "node:url";
import { propagation, trace } from "@opentelemetry/api";
import { getTaskContext, type TaskEngine } from "otel-taskflow";
import { recordSpans, type TestTelemetry, useContextManager, usePropagator } from "../../support/telemetry.js";
import type { EngineStore } from "../world.js";
import type { ProcessLine, ProcessSettings, Sighting } from "./protocol.js";

const EXITS_WITHIN_MS = 5_000;

export interface Session {
  readonly settings: ProcessSettings;
  readonly engine: TaskEngine;
  readonly telemetry: TestTelemetry | undefined;
}

/** Reads this process's settings, registers an SDK if it is to have one, and reaches the store. */
export async function openSession(): Promise<Session> {
  const settings = JSON.parse(process.argv[2] ?? "") as ProcessSettings;
  const telemetry = settings.telemetry ? registerTelemetry() : undefined;
  const world = (await import(pathToFileURL(settings.module).href)) as WorldModule;
  const store = await world.openStore(settings.location);
  return { settings, engine: store.engine(), telemetry };
}

interface WorldModule {
  openStore(location: string): Promise<EngineStore>;
}

/** From here on nothing may keep the process alive: where something does, it fails and says what. */
export function expectExit(): void {
  const complain = (): never => {
    console.error("still alive after shutdown():", process.getActiveResourcesInfo());
    process.exit(1);
  };
  setTimeout(complain, EXITS_WITHIN_MS).unref();
}

export function print(line: ProcessLine): void {
  console.log(JSON.stringify(line));
}

export function printSpans(telemetry: TestTelemetry | undefined): void {
  for (const span of telemetry?.spans() ?? []) {
    const { traceId, spanId } = span.spanContext();
    const { name, attributes } = span;
    print({ kind: "span", span: { name, traceId, spanId, parentSpanId: span.parentSpanContext?.spanId, attributes } });
  }
}

/** What the calling task sees around itself. */
export function lookAround(args: readonly unknown[]): Sighting {
  const { taskId = "", funcName = "", attempt = -1, maxAttempts, tags = {} } = getTaskContext() ?? {};
  const entries = propagation.getActiveBaggage()?.getAllEntries() ?? [];
  const baggage = Object.fromEntries(entries.map(([key, { value }]) => [key, value]));
  return { taskId, funcName, attempt, maxAttempts, tags, args, baggage };
}

function registerTelemetry(): TestTelemetry {
  const telemetry = recordSpans();
  trace.setGlobalTracerProvider(telemetry.provider);
  useContextManager();
  usePropagator();
  return telemetry;
}
