import { context, DiagLogLevel, diag, type Link, metrics, propagation, type Span, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
  type SpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { onTestFinished } from "vitest";

export interface TelemetryOptions {
  sampler?: Sampler;
  spanProcessors?: SpanProcessor[];
  /** Default true. */
  contextManager?: boolean;
  /** Default true: W3C trace context and baggage. */
  propagator?: boolean;
}

export interface TestTelemetry {
  readonly provider: TracerProvider;
  /** Ended spans, in order of their end. */
  spans(): ReadableSpan[];
  /** Ended spans of this name. */
  named(name: string): ReadableSpan[];
  /** The one ended span of this name. */
  span(name: string): ReadableSpan;
}

/** The links of a span, but for one to its own parent: to the enqueue span, where a broker is involved. */
export function otherLinks({ links, parentSpanContext }: Pick<ReadableSpan, "links" | "parentSpanContext">): Link[] {
  return links.filter(({ context: { spanId } }) => spanId !== parentSpanContext?.spanId);
}

/** Registers a real SDK globally for the running test, and takes it away afterwards. */
export function startTelemetry(options: TelemetryOptions = {}): TestTelemetry {
  const telemetry = recordSpans(options);
  trace.setGlobalTracerProvider(telemetry.provider);
  if (options.contextManager !== false) useContextManager();
  if (options.propagator !== false) usePropagator();
  onTestFinished(async () => {
    stopTelemetry();
    await telemetry.provider.shutdown();
  });
  return telemetry;
}

/** A real tracer provider that is registered nowhere; its owner shuts it down. */
export function recordSpans(options: Pick<TelemetryOptions, "sampler" | "spanProcessors"> = {}): TestTelemetry {
  const exporter = new InMemorySpanExporter();
  const spanProcessors = [new SimpleSpanProcessor({ exporter }), ...(options.spanProcessors ?? [])];
  const provider = new TracerProvider({ spanProcessors, ...(options.sampler && { sampler: options.sampler }) });
  const named = (name: string): ReadableSpan[] => exporter.getFinishedSpans().filter((span) => span.name === name);
  return {
    provider,
    spans: () => exporter.getFinishedSpans(),
    named,
    span(name) {
      const [span, ...others] = named(name);
      if (span === undefined || others.length > 0) {
        const all = exporter.getFinishedSpans().map((one) => one.name);
        throw new Error(`expected one span named "${name}", got ${JSON.stringify(all)}`);
      }
      return span;
    },
  };
}

export function useContextManager(): void {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
}

export function usePropagator(): void {
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
}

/** Registers an SDK for the running test whose spans, instruments and propagator throw whatever they are asked. */
export function breakTelemetry(): void {
  const explode = (): never => {
    throw new Error("of the SDK");
  };
  const spanContext = () => ({ traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 });
  const broken = <T extends object>(sound: Partial<T>): T =>
    new Proxy({}, { get: (_, key) => Reflect.get(sound, key) ?? explode }) as T;
  const startSpan = (): Span => broken<Span>({ spanContext });
  const tracer = { startSpan, startActiveSpan: explode };
  trace.setGlobalTracerProvider({ getTracer: () => tracer });
  metrics.setGlobalMeterProvider({ getMeter: () => broken({}) });
  propagation.setGlobalPropagator({ inject: explode, extract: explode, fields: () => [] });
  useContextManager();
  onTestFinished(() => {
    stopTelemetry();
    metrics.disable();
  });
}

/** Takes away every global OpenTelemetry registration. */
export function stopTelemetry(): void {
  trace.disable();
  context.disable();
  propagation.disable();
  diag.disable();
}

/** Collects what goes to diag, for the running test. */
export function collectDiag(level: DiagLogLevel = DiagLogLevel.WARN): string[] {
  const lines: string[] = [];
  const collect = (...args: unknown[]): void => {
    lines.push(args.map(String).join(" "));
  };
  const logger = { error: collect, warn: collect, info: collect, debug: collect, verbose: collect };
  diag.setLogger(logger, { logLevel: level, suppressOverrideMessage: true });
  onTestFinished(() => diag.disable());
  return lines;
}
