import { metrics } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { onTestFinished } from "vitest";

export interface TestMetrics {
  readonly provider: MeterProvider;
  /** Everything measured so far, by metric name. */
  collect(): Promise<Map<string, MetricData>>;
  /** The scopes that were collected last. */
  scopes(): { readonly name: string; readonly schemaUrl?: string | undefined }[];
}

/** A real metrics SDK for the running test; registered globally unless `global` is false. */
export function startMetrics({ global = true } = {}): TestMetrics {
  const recorded = recordMetrics();
  if (global) metrics.setGlobalMeterProvider(recorded.provider);
  onTestFinished(async () => {
    if (global) metrics.disable();
    await recorded.provider.shutdown();
  });
  return recorded;
}

/** A real meter provider that is registered nowhere; its owner shuts it down. */
export function recordMetrics(): TestMetrics {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 60_000 });
  const provider = new MeterProvider({ readers: [reader] });
  return {
    provider,
    scopes: () => (exporter.getMetrics().at(-1)?.scopeMetrics ?? []).map(({ scope }) => scope),
    async collect() {
      await provider.forceFlush();
      const scopes = exporter.getMetrics().at(-1)?.scopeMetrics ?? [];
      const ours = scopes.filter(({ scope }) => scope.name === "otel-taskflow");
      return new Map(ours.flatMap((scope) => scope.metrics).map((metric) => [metric.descriptor.name, metric]));
    },
  };
}
