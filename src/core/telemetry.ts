import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  type SpanOptions,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import type { Travelling } from "./baggage.js";
import { checkBoolean, checkFunction, checkKeys, checkMethods, namesOf, show } from "./checks.js";
import { TaskConfigError } from "./errors.js";
import { firstOf } from "./fields.js";
import { safely } from "./guard.js";
import { TELEMETRY_KEYS } from "./info-keys.js";
import { createInstruments, type TaskInstruments } from "./metrics.js";
import { SCHEMA_URL, SCOPE_NAME, SCOPE_VERSION } from "./semconv.js";
import { type RegisteredApi, registeredApi, registeredLoggerProvider, sharedSlot } from "./slot.js";
import { NO_SPAN, OwnSpan } from "./span.js";
import type { TaskLogMode, TaskLogRecord, TaskTelemetryOptions } from "./types.js";

/** Most tag keys in the option `baggage`. */
const MAX_TRAVELLING = 1_000;
const LOG_MODES: readonly unknown[] = ["event", "record", "both"];
const BAGGAGE_KEYS = namesOf<Travelling>({ tags: true, id: true });
const SCOPE_OPTIONS = { schemaUrl: SCHEMA_URL };

/** Checked telemetry options, and the way to this library's tracer, logger and instruments. No method throws. */
export interface Telemetry {
  readonly baggage: Travelling;
  readonly logs: TaskLogMode;
  readonly onLog: TaskTelemetryOptions["onLog"];
  /** Starts the span `{operation} {task}`. Its options are asked for only where a tracer provider is registered. */
  startSpan(operation: string, task: string, parent: Context, options: () => SpanOptions): OwnSpan;
  emit(record: TaskLogRecord): void;
  /** Whether a part of an SDK is registered or given: without one, nobody reads what a context holds. */
  isHeard(): boolean;
  /** Returns the metric instruments; `undefined` where no meter provider is registered. */
  instruments(): TaskInstruments | undefined;
}

/**
 * Checks telemetry options. Providers that are not given are looked up at each use.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function createTelemetry(options: TaskTelemetryOptions): Telemetry {
  const { baggage = true, logs = "event", onLog } = options;
  if (!LOG_MODES.includes(logs)) {
    throw new TaskConfigError(`logs: expected "event", "record" or "both", received ${show(logs)}`);
  }
  if (onLog !== undefined) checkFunction("onLog", onLog);
  const { tracerProvider, loggerProvider, meterProvider } = options;
  checkProvider("tracerProvider", tracerProvider, "getTracer");
  checkProvider("loggerProvider", loggerProvider, "getLogger");
  checkProvider("meterProvider", meterProvider, "getMeter");
  const tracer = madeOf(
    () => currentTracerProvider(tracerProvider),
    (provider) => provider.getTracer(SCOPE_NAME, SCOPE_VERSION, SCOPE_OPTIONS),
  );
  const logger = madeOf(
    () => loggerProvider ?? registeredLoggerProvider(),
    (provider) => provider?.getLogger(SCOPE_NAME, SCOPE_VERSION, SCOPE_OPTIONS),
  );
  const instruments = madeOf(
    () => meterProvider ?? registeredApi()?.metrics,
    (provider) => provider && createInstruments(provider),
  );
  return Object.freeze({
    baggage: copyBaggage(baggage),
    logs,
    onLog,
    startSpan: (operation: string, task: string, parent: Context, spanOptions: () => SpanOptions) => {
      if (tracerProvider === undefined && registeredApi()?.trace === undefined) return silentSpan(parent);
      const start = (): Span | undefined => usable(tracer().startSpan(`${operation} ${task}`, spanOptions(), parent));
      const span = safely("starting a span", start);
      return span === undefined ? silentSpan(parent) : new OwnSpan(span);
    },
    isHeard: () => tracerProvider !== undefined || registeredApi() !== undefined,
    instruments: () => safely("measuring", instruments),
    emit: (record: TaskLogRecord) => safely("emitting a record", () => logger()?.emit(record)),
  });
}

const DEFAULTS = createTelemetry({});
// the names of all of them
const NAMES = Object.keys(TELEMETRY_KEYS) as (keyof TaskTelemetryOptions)[];

/** Returns the telemetry of a call by its options; calls that give none share one. */
export function telemetryOf(options: TaskTelemetryOptions): Telemetry {
  return NAMES.some((name) => options[name] !== undefined) ? createTelemetry(options) : DEFAULTS;
}

// Makes something of a provider once, and again when another provider is current.
function madeOf<P, T>(current: () => P, make: (provider: P) => T): () => T {
  let made: { readonly provider: P; readonly value: T } | undefined;
  return () => {
    const provider = current();
    if (made === undefined || made.provider !== provider) made = { provider, value: make(provider) };
    return made.value;
  };
}

// A copy of the API that is newer than the registered one silently sees nothing of it, which is reported here. A
// provider that is given makes spans all the same, each in a trace of its own.
function currentTracerProvider(given: TracerProvider | undefined): TracerProvider {
  const provider = trace.getTracerProvider();
  const registered = registeredApi();
  if (registered?.trace !== undefined && registered.trace !== provider) reportConflict(registered);
  return given ?? provider;
}

function reportConflict(registered: RegisteredApi): void {
  const slot = sharedSlot();
  if (slot.conflictReported) return;
  slot.conflictReported = true;
  const message =
    `${SCOPE_NAME} sees no spans: the application registered @opentelemetry/api ${registered.version}, ` +
    "this library found a newer copy. Install one version.";
  if (registered.diag === undefined) process.emitWarning(message, { code: "OTEL_TASKFLOW_API_CONFLICT" });
  else registered.diag.warn(message);
}

// Stands in for a span: it records nothing, and passes on the trace it was started in. It is never the parent itself,
// because this library ends its own spans only.
function silentSpan(parent: Context): OwnSpan {
  const around = spanContextIn(parent);
  return around === undefined ? NO_SPAN : new OwnSpan(trace.wrapSpanContext(around));
}

// Everything that follows relies on a span context, so a span without one counts as none.
function usable(span: Span): Span | undefined {
  return typeof span.spanContext().traceId === "string" ? span : undefined;
}

function checkProvider(option: string, provider: unknown, method: string): void {
  checkMethods(option, `a provider with ${method}()`, provider, [method]);
}

function copyBaggage(baggage: unknown): Travelling {
  if (typeof baggage !== "object" || baggage === null || Array.isArray(baggage)) {
    return { tags: copyTravelling(baggage), id: false };
  }
  checkKeys("baggage", baggage, BAGGAGE_KEYS);
  const { tags = true, id = false }: Partial<Record<keyof Travelling, unknown>> = baggage;
  return { tags: copyTravelling(tags), id: checkBoolean("baggage: its id", id) };
}

// A list may be a proxy, and endless, so no more of it is read than it may hold.
function copyTravelling(tags: unknown): Travelling["tags"] {
  if (typeof tags === "boolean") return tags;
  const keys = Array.isArray(tags) ? firstOf(tags, MAX_TRAVELLING + 1) : [undefined];
  if (keys.length <= MAX_TRAVELLING && keys.every((key) => typeof key === "string")) return Object.freeze(keys);
  throw new TaskConfigError(
    `baggage: expected true, false or an array of at most ${MAX_TRAVELLING} tag keys, received ${show(tags)}`,
  );
}

/** Returns the identity of a context's span; `undefined` where it has none, or one that cannot be read. */
export function spanContextIn(context: Context): SpanContext | undefined {
  if (context === ROOT_CONTEXT) return undefined;
  return safely("reading a span's context", () => trace.getSpanContext(context));
}
