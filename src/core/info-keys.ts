import { namesOf } from "./checks.js";
import type { AttemptInfo, ProducerOptions, TaskContext, TaskInfo, TaskTelemetryOptions } from "./types.js";

/** The names of the telemetry options, for the sets of options that include them. */
export const TELEMETRY_KEYS: Record<keyof TaskTelemetryOptions, true> = {
  tracerProvider: true,
  meterProvider: true,
  loggerProvider: true,
  baggage: true,
  logs: true,
  onLog: true,
};

/**
 * The names of all options of producer, consumer and task context. They are one set, so that both sides may share an
 * object, and a `TaskContext` can be spread into it.
 */
export const INFO_KEYS: ReadonlySet<string> = namesOf<TaskInfo & AttemptInfo & TaskContext>({
  ...TELEMETRY_KEYS,
  funcName: true,
  taskId: true,
  tags: true,
  attempt: true,
  maxAttempts: true,
  relation: true,
  delay: true,
  carrier: true,
  dueAt: true,
  redelivered: true,
  previous: true,
  signal: true,
  timeout: true,
  engine: true,
  system: true,
  destination: true,
  deferIf: true,
  giveUpIf: true,
});

/** Takes this library's part out of the options of an adapter's producer; the other part is for its own library. */
export function splitProducerOptions<O extends ProducerOptions>(
  options: O,
): readonly [ProducerOptions, Omit<O, keyof ProducerOptions>] {
  const { tags, relation, baggage, tracerProvider, meterProvider, ...others } = options;
  return [{ tags, relation, baggage, tracerProvider, meterProvider }, others];
}

/** Takes this library's part out of the options of an adapter's consumer; the other part is for its own library. */
export function splitTelemetryOptions<O extends TaskTelemetryOptions>(
  options: O,
): readonly [TaskTelemetryOptions, Omit<O, keyof TaskTelemetryOptions>] {
  const { tracerProvider, meterProvider, loggerProvider, baggage, logs, onLog, ...others } = options;
  return [{ tracerProvider, meterProvider, loggerProvider, baggage, logs, onLog }, others];
}
