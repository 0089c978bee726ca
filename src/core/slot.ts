import { AsyncLocalStorage } from "node:async_hooks";
import type { MeterProvider, TracerProvider } from "@opentelemetry/api";
import type { TaskLoggerProvider } from "./types.js";

// The only file that touches globalThis: it holds what copies of this package share, and reads what copies of
// @opentelemetry/api share. A slot or attempt of another shape takes another version, so that no copy misreads it.
const SLOT = "v2";
const OTEL_API = Symbol.for("opentelemetry.js.api.1");
const OTEL_LOGS_API = Symbol.for("io.opentelemetry.js.api.logs");
const OTEL_LOGS_VERSION = 1;

/** State shared by all copies of the package in a process. */
export interface Slot {
  /** Carries the current attempt where no OpenTelemetry context manager is registered. */
  readonly fallback: AsyncLocalStorage<unknown>;
  /** The version conflict of `@opentelemetry/api` has been reported. */
  conflictReported: boolean;
}

/** The global state of the application's copy of `@opentelemetry/api`, whatever its version. */
export interface RegisteredApi {
  readonly version?: string;
  readonly trace?: TracerProvider;
  readonly context?: unknown;
  readonly metrics?: MeterProvider;
  readonly diag?: { warn(message: string): void };
  readonly logs?: TaskLoggerProvider;
}

interface Globals {
  [shared: symbol]: unknown;
  [OTEL_API]?: RegisteredApi;
  [OTEL_LOGS_API]?: (version: number) => TaskLoggerProvider | undefined;
}

// these keys are symbols, which nobody else's types know
const globals = globalThis as Globals;

/** Returns the state that all copies share. */
export function sharedSlot(): Slot {
  return shared(SLOT, () => ({ fallback: new AsyncLocalStorage(), conflictReported: false }));
}

/** Returns what all copies share under a name, which holds its version; the first that asks makes it. */
export function shared<T extends object>(name: string, make: () => T): T {
  const key = Symbol.for(`otel-taskflow.${name}`);
  globals[key] ??= make();
  // what is of another shape has another name
  return globals[key] as T;
}

/** Returns what the application's copy of `@opentelemetry/api` registered; `undefined` where nothing is. */
export function registeredApi(): RegisteredApi | undefined {
  return globals[OTEL_API];
}

/** Returns the global logger provider, of `@opentelemetry/api` from 1.10 on or of `@opentelemetry/api-logs` before. */
export function registeredLoggerProvider(): TaskLoggerProvider | undefined {
  return globals[OTEL_API]?.logs ?? globals[OTEL_LOGS_API]?.(OTEL_LOGS_VERSION);
}
