import type { Context, HrTime, MeterProvider, SpanContext, TracerProvider } from "@opentelemetry/api";

/** The task that code runs in, as `getTaskContext()` returns it. It is made once an attempt, and frozen. */
export interface TaskContext {
  /** The task's id: a UUID v4, or the one given at `addTask`; through an adapter, the library's own job id. */
  readonly taskId: string;
  /** The task's name. */
  readonly funcName: string;
  /** Zero-based: 0 is the first run, 1 the first retry. */
  readonly attempt: number;
  /** Retries + 1, from 1; `undefined` where it cannot be known. */
  readonly maxAttempts: number | undefined;
  /** The labels given at enqueue time; frozen, and `{}` where none were given. */
  readonly tags: TaskTags;
  /**
   * True where the run before this one was lost (crash, stall) and may have done a part of its work. With an engine
   * the same attempt runs again; through an adapter whose library counts crashes it is the next.
   */
  readonly redelivered: boolean;
  /** Aborts on timeout, cancel, and shutdown past its deadline; the reason says which. It is made when first read. */
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
 * The relation of an attempt's trace to the one that enqueued it: `parent` puts every attempt under the enqueue span,
 * `link` starts a new trace linked to it (baggage still arrives), `none` starts a new trace with neither link nor
 * inherited baggage.
 */
export type TaskRelation = "parent" | "link" | "none";

/**
 * The outcome of an attempt: `retry` failed and will run again, `failure` gave up, `error` failed where nobody here
 * knows which of the two, `cancelled` was ended from outside, `deferred` is an engine's control flow.
 */
export type TaskOutcome = "success" | "retry" | "failure" | "error" | "cancelled" | "deferred";

/** The severity of a `taskLog` line. */
export type TaskLogLevel = "debug" | "info" | "warn" | "error";

/** The place of `taskLog` lines: an event on the active span, an OpenTelemetry log record, or both. */
export type TaskLogMode = "event" | "record" | "both";

/** One `taskLog` call, as `onLog` receives it. */
export interface TaskLogLine {
  readonly level: TaskLogLevel;
  readonly message: string;
  /** The caller's fields without `level`, with the values as they were passed; `{}` where there are none. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The task that wrote the line. */
  readonly context: TaskContext;
}

/**
 * The tags that travel as W3C baggage: all (`true`), none (`false`), or those of the listed keys; and whether the task's
 * id does, which by itself is false. Services that the task calls receive what travels, also those of other companies.
 */
export type TaskBaggage =
  | boolean
  | readonly string[]
  | { readonly tags?: boolean | readonly string[] | undefined; readonly id?: boolean | undefined };

/**
 * The strings that go with a task through a queue: the propagator's entries, and one of this library's. It holds the
 * task's name, id and tags in plain text. Store it beside the task, and never make one of a foreign request's headers.
 */
export type Carrier = Record<string, string>;

/** The part of an OpenTelemetry LoggerProvider that is used; satisfied by both logs APIs. */
export interface TaskLoggerProvider {
  getLogger(name: string, version?: string, options?: { schemaUrl?: string }): { emit(record: TaskLogRecord): void };
}

/** The part of an OpenTelemetry LogRecord that is filled in. */
export interface TaskLogRecord {
  eventName?: string;
  /** Seconds and nanoseconds since the epoch. Without it, what is told happened now. */
  timestamp?: HrTime;
  severityNumber: number;
  severityText: string;
  body?: string;
  attributes: Record<string, string | number | boolean | (string | number | boolean)[]>;
  context: Context;
}

/** Options of telemetry: its providers, which are the global ones by default, and what of a task they are told. */
export interface TaskTelemetryOptions {
  /** Makes the spans. Default: the global provider, looked up at each use, so that it may be registered later. */
  tracerProvider?: TracerProvider | undefined;
  /** Makes the metrics. Default: the global provider, looked up at each use. */
  meterProvider?: MeterProvider | undefined;
  /** Takes the log records that `logs` asks for. Default: the global provider, looked up at each use. */
  loggerProvider?: TaskLoggerProvider | undefined;
  /**
   * The tags that travel as W3C baggage: all, none, or those of the listed keys, at most 1,000; with `{ id: true }`, the
   * task's id as well. Default `{ tags: true, id: false }`. Every instrumented outgoing call of a task carries them to
   * whoever is called, so `false` or a list keeps them from others.
   */
  baggage?: TaskBaggage | undefined;
  /** The place of `taskLog` lines: an event on the active span, a log record, or both. Default `"event"`. */
  logs?: TaskLogMode | undefined;
  /**
   * Receives every line written by `taskLog` inside the task, except those that it writes itself. A promise that it
   * returns is awaited by a manager's `idle()`, and by its `shutdown()` up to the deadline. One that throws or rejects
   * is told to diag, and changes nothing. Default: none.
   */
  onLog?: ((line: TaskLogLine) => void) | undefined;
}

/** The producer's facts of a task. Facts out of range are a `TaskConfigError`, and the task is not sent. */
export interface TaskInfo extends Pick<TaskTelemetryOptions, "tracerProvider" | "meterProvider" | "baggage"> {
  /** The task's name, 1 to 512 characters. */
  funcName: string;
  /** The task's id, 1 to 512 characters. Default: a UUID v4. */
  taskId?: string | undefined;
  /** The labels of this task: see `GivenTags`. Default: none. */
  tags?: GivenTags | undefined;
  /** Retries + 1, an integer from 1. Default: unknown, so that a failed attempt's outcome is `error`. */
  maxAttempts?: number | undefined;
  /** The relation of the attempts' trace to the one that enqueues. Default `"parent"`. */
  relation?: TaskRelation | undefined;
  /** Milliseconds until the first attempt is due, from 0. The queue itself has to hold the task back. Default 0. */
  delay?: number | undefined;
  /** The engine's name, for `task.engine`. Default: none is written. */
  engine?: string | undefined;
  /** A real broker's `messaging.system`; without it no `messaging.*` attribute is written. */
  system?: string | undefined;
  /** The queue's name, for `messaging.destination.name`. Default: none is written. */
  destination?: string | undefined;
}

/** The options of an adapter's producer function besides its library's own. */
export type ProducerOptions = Pick<TaskInfo, "tags" | "relation" | "baggage" | "tracerProvider" | "meterProvider">;

/**
 * The consumer's facts of one attempt; those it leaves out come from the carrier. Facts out of range are a
 * `TaskConfigError`, and the function is not called; damage in the carrier is told to diag and left out.
 */
export interface AttemptInfo extends Omit<TaskInfo, "delay" | "funcName">, TaskTelemetryOptions {
  /** The task's name, 1 to 512 characters. Default: the carrier's. */
  funcName?: string | undefined;
  /** The number of the attempt, zero-based: 0 is the first run. Default 0. */
  attempt?: number | undefined;
  /** The carrier that `enqueueTask` handed to `send`. Default: none, and the attempt starts a trace of its own. */
  carrier?: Carrier | undefined;
  /** The time at which this attempt became due, epoch ms; `null` for unknown. Default for attempt 0: the carrier's. */
  dueAt?: number | null | undefined;
  /** True where an earlier run of this very attempt was lost (crash, stall). Default false. */
  redelivered?: boolean | undefined;
  /** The span of attempt − 1, to link to. Default: no link. */
  previous?: SpanContext | undefined;
  /** The engine's own signal: aborting it cancels the attempt. Default: none. */
  signal?: AbortSignal | undefined;
  /** Milliseconds, from 1, after which the attempt fails with a `TaskTimeoutError`. Default: none. */
  timeout?: number | undefined;
  /**
   * Says which errors are an engine's control flow: outcome `deferred`, no error status. Default: none. One that
   * throws, or answers by a promise, is told to diag and counts as false.
   */
  deferIf?: ((error: unknown) => boolean) | undefined;
  /**
   * Says which errors an engine never retries, besides `NonRetryableError`: outcome `failure`. Default: none. One that
   * throws, or answers by a promise, is told to diag and counts as false.
   */
  giveUpIf?: ((error: unknown) => boolean) | undefined;
}
