import type { Context, MeterProvider, SpanContext, TracerProvider } from "@opentelemetry/api";

/** What a task is told about itself. Frozen, made once per attempt. */
export interface TaskContext {
  /** UUID v4; with an adapter, the engine's own job id. */
  readonly taskId: string;
  /** The task's name. */
  readonly funcName: string;
  /** Zero-based: 0 is the first run, 1 the first retry. */
  readonly attempt: number;
  /** Retries + 1; `undefined` where it cannot be known. */
  readonly maxAttempts: number | undefined;
  /** The labels given at enqueue time. Frozen. */
  readonly tags: TaskTags;
  /**
   * True where the run before this one was lost (crash, stall) and may have done a part of its work. With an engine
   * the same attempt runs again; through an adapter whose library counts crashes it is the next.
   */
  readonly redelivered: boolean;
  /** Aborts on timeout, cancel, and shutdown past its deadline. Made when first read. */
  readonly signal: AbortSignal;
}

/** Labels of one task: at most 16, keys `[A-Za-z0-9_.-]{1,64}`, values of at most 1,024 UTF-16 code units. */
export type TaskTags = Readonly<Record<string, string>>;

/**
 * Labels as they are given: numbers and booleans become text, `undefined` and `null` are left out, and what is longer
 * than 1,024 UTF-16 code units is cut.
 */
export type GivenTags = Readonly<Record<string, string | number | boolean | null | undefined>>;

/**
 * How an attempt's trace relates to the one that enqueued it: `parent` puts every attempt under the
 * enqueue span, `link` starts a new trace linked to it (baggage still arrives), `none` starts a new
 * trace with neither link nor inherited baggage.
 */
export type TaskRelation = "parent" | "link" | "none";

/**
 * How an attempt ended: `retry` failed and will run again, `failure` gave up, `error` failed where
 * nobody here knows which of the two, `deferred` is an engine's control flow.
 */
export type TaskOutcome = "success" | "retry" | "failure" | "error" | "cancelled" | "deferred";

export type TaskLogLevel = "debug" | "info" | "warn" | "error";

/** Where `taskLog` lines go: an event on the active span, an OpenTelemetry log record, or both. */
export type TaskLogMode = "event" | "record" | "both";

/** One `taskLog` call, as `onLog` receives it. */
export interface TaskLogLine {
  readonly level: TaskLogLevel;
  readonly message: string;
  /** The caller's fields without `level`; values as they were passed. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The task that wrote the line. */
  readonly context: TaskContext;
}

/** Which tags travel as W3C baggage: all (`true`), none (`false`), or the listed keys. */
export type TaskBaggage = boolean | readonly string[];

/** What a propagator writes and reads, plus one key of this library's. Never a foreign request's headers. */
export type Carrier = Record<string, string>;

/** The part of an OpenTelemetry LoggerProvider that is used; satisfied by both logs APIs. */
export interface TaskLoggerProvider {
  getLogger(name: string, version?: string): { emit(record: TaskLogRecord): void };
}

/** The part of an OpenTelemetry LogRecord that is filled in. */
export interface TaskLogRecord {
  eventName?: string;
  severityNumber: number;
  severityText: string;
  body: string;
  attributes: Record<string, string | number | boolean | (string | number | boolean)[]>;
  context: Context;
}

/** Where telemetry goes and what of it. Providers default to the global ones, looked up late. */
export interface TaskTelemetryOptions {
  /** Makes the spans. Default: the global provider, looked up at each use, so that it may be registered later. */
  tracerProvider?: TracerProvider | undefined;
  /** Makes the metrics. Default: the global provider, looked up at each use. */
  meterProvider?: MeterProvider | undefined;
  /** Takes the log records that `logs` asks for. Default: the global provider, looked up at each use. */
  loggerProvider?: TaskLoggerProvider | undefined;
  /**
   * Which tags travel as baggage: all, none, or those of the listed keys. Default `true`. Every instrumented outgoing
   * call of a task carries what travels.
   */
  baggage?: TaskBaggage | undefined;
  /** Where `taskLog` lines go: an event on the active span, a log record, or both. Default `"event"`. */
  logs?: TaskLogMode | undefined;
  /**
   * Receives every line written by `taskLog` inside the task, but those that it writes itself. A promise that it returns is
   * awaited by a manager's `idle()`, and by its `shutdown()` up to the deadline.
   */
  onLog?: ((line: TaskLogLine) => void) | undefined;
}

/** What the producer side says of a task. */
export interface TaskInfo extends Pick<TaskTelemetryOptions, "tracerProvider" | "meterProvider" | "baggage"> {
  /** The task's name. */
  funcName: string;
  /** Default: a UUID v4. */
  taskId?: string | undefined;
  /** Labels of this task: see `GivenTags`. Default none. */
  tags?: GivenTags | undefined;
  /** Retries + 1, from 1. Default: unknown. */
  maxAttempts?: number | undefined;
  /** How the attempts' trace relates to the one that enqueues. Default `"parent"`. */
  relation?: TaskRelation | undefined;
  /** Milliseconds until the first attempt is due. Default 0. */
  delay?: number | undefined;
  /** Value of the attribute that names the engine. Default: none is written. */
  engine?: string | undefined;
  /** A real broker's `messaging.system`; without it no `messaging.*` attribute is written. */
  system?: string | undefined;
  /** The queue's name, for `messaging.destination.name`. Default: none is written. */
  destination?: string | undefined;
}

/** What an adapter's producer function takes besides its library's own options. */
export type ProducerOptions = Pick<TaskInfo, "tags" | "relation" | "baggage" | "tracerProvider" | "meterProvider">;

/** What the consumer side says of one attempt. What it leaves out comes from the carrier. */
export interface AttemptInfo extends Omit<TaskInfo, "delay" | "funcName">, TaskTelemetryOptions {
  /** The task's name. Default: the carrier's. */
  funcName?: string | undefined;
  /** Zero-based. Default 0. */
  attempt?: number | undefined;
  /** What `enqueueTask` handed to `send`. Default: none; the attempt then starts a trace of its own. */
  carrier?: Carrier | undefined;
  /** Epoch milliseconds at which this attempt became due. Default: the carrier's, of attempt 0; `null`: unknown. */
  dueAt?: number | null | undefined;
  /** An earlier run of this very attempt was lost (crash, stall). Default false. */
  redelivered?: boolean | undefined;
  /** The span of attempt − 1, to link to. Default: no link. */
  previous?: SpanContext | undefined;
  /** The engine's own signal: aborting it cancels the attempt. Default none. */
  signal?: AbortSignal | undefined;
  /** Milliseconds after which the attempt fails with a `TaskTimeoutError`. Default none. */
  timeout?: number | undefined;
  /** Says which errors are an engine's control flow: outcome `deferred`, no error status. Default: none. */
  deferIf?: ((error: unknown) => boolean) | undefined;
  /** Says which errors an engine never retries, besides `NonRetryableError`: outcome `failure`. Default: none. */
  giveUpIf?: ((error: unknown) => boolean) | undefined;
}
