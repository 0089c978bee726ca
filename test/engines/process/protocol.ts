import type { TaskContext } from "otel-taskflow";

/** What a process of this folder is told, as JSON in its first argument. */
export interface ProcessSettings {
  /** An engine world's module, and one of its stores. */
  readonly module: string;
  readonly location: string;
  /** Whether an OpenTelemetry SDK is registered. */
  readonly telemetry: boolean;
  /** A worker that goes on until it is ended, instead of until there is nothing left to do. */
  readonly stays: boolean;
}

/** One line of JSON on its standard output. */
export type ProcessLine =
  | { readonly kind: "enqueued"; readonly id: string }
  | { readonly kind: "ran"; readonly sighting: Sighting }
  | { readonly kind: "span"; readonly span: PrintedSpan };

/** What a task saw around itself. */
export interface Sighting extends Omit<TaskContext, "signal" | "redelivered"> {
  readonly args: readonly unknown[];
  readonly baggage: Readonly<Record<string, string>>;
}

export interface PrintedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly attributes: Readonly<Record<string, unknown>>;
}
