import { diag } from "@opentelemetry/api";
import { checkKeys, namesOf, show } from "../../core/checks.js";
import { TaskConfigError } from "../../core/errors.js";
import { drawTree, earliest } from "./draw.js";
import { readSpan, type TreeReadableSpan, type TreeSpan } from "./span.js";
import { TreeTrace } from "./trace.js";

/** A place to write trees to; `process.stdout` and any Writable satisfy it. */
export interface TaskTreeStream {
  write(text: string): unknown;
  readonly columns?: number | undefined;
  readonly isTTY?: boolean | undefined;
}

/** Options of {@link TaskTreeExporter}. */
export interface TaskTreeExporterOptions {
  /** The place to write to. Default: `process.stdout`. A stream that throws is told to diag. */
  stream?: TaskTreeStream;
  /** Columns of a line, an integer from 40 to 500. Default: the stream's `columns`, else 100. */
  width?: number;
  /**
   * True to write colours. Default: where the stream is a TTY and the environment variable `NO_COLOR` is empty or
   * unset.
   */
  color?: boolean;
  /** Milliseconds that a trace must be quiet before it is printed, 0 to 60,000. Default: 250. */
  quietTime?: number;
}

const KEYS = namesOf<TaskTreeExporterOptions>({ stream: true, width: true, color: true, quietTime: true });

/** The result of an export, as the SDK's `ExportResult`. */
export interface TaskTreeExportResult {
  /** 0 success, 1 failure. */
  code: 0 | 1;
  error?: Error;
}

interface Settings {
  readonly stream: TaskTreeStream;
  readonly width: number | undefined;
  readonly color: boolean;
  readonly quietTime: number;
}

const WIDTH_DEFAULT = 100;
const WIDTH_MIN = 40;
const WIDTH_MAX = 500;
const QUIET_DEFAULT = 250;
const QUIET_MAX = 60_000;
/** Milliseconds for which a quiet trace is kept while more of it is to be expected. */
const UNFINISHED_QUIET = 10_000;
/** Most spans remembered over all traces, printed ones included. */
const SPAN_LIMIT = 10_000;

/**
 * A span exporter for the terminal, which draws each trace as one tree on one time axis. A line is a span with its bar:
 * `░` waited in the queue, `█` ran, `·` waits for its retry. Attempts show their number and outcome; `taskLog` lines
 * and exceptions stand where they happened, as offsets from the trace's start.
 *
 * A trace is printed when no span of it has arrived for `quietTime`, and at `forceFlush` and `shutdown`. While a parent
 * is open, a task is queued in memory or a retry is announced, it is kept for up to 10 s of quiet, so that all attempts
 * share one tree. Spans that come later are printed as a tree of their own on the same time axis. It holds at most
 * 10,000 spans; the oldest trace goes first. Its timers do not keep the process alive, so shut the provider down before
 * exit. It is made for development: use it with a `SimpleSpanProcessor`.
 *
 * @see https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-exporter
 */
export class TaskTreeExporter {
  readonly #settings: Settings;
  /** Oldest first; printed ones stay until the limit, to recognise what comes late. */
  readonly #traces = new Map<string, TreeTrace>();
  #size = 0;
  #isShutdown = false;

  constructor(options: TaskTreeExporterOptions = {}) {
    this.#settings = settingsOf(options);
  }

  /** Takes ended spans. Never throws: a failure goes to `resultCallback` with code 1, and to diag. */
  export(spans: readonly TreeReadableSpan[], resultCallback: (result: TaskTreeExportResult) => void): void {
    resultCallback(this.#accept(spans));
  }

  /** Prints every trace that has unprinted spans, now. Never rejects: a failing stream is told to diag. */
  forceFlush(): Promise<void> {
    for (const trace of this.#traces.values()) this.#tryPrint(trace);
    return Promise.resolve();
  }

  /**
   * Prints the traces that are left. Spans that arrive even later are printed at once, because a `SimpleSpanProcessor`
   * shuts its exporter down while spans still wait for the resource's asynchronous attributes. Never rejects.
   */
  async shutdown(): Promise<void> {
    this.#isShutdown = true;
    await this.forceFlush();
  }

  #accept(spans: readonly TreeReadableSpan[]): TaskTreeExportResult {
    let result: TaskTreeExportResult = { code: 0 };
    for (const span of spans) {
      try {
        this.#add(readSpan(span));
      } catch (error) {
        result = { code: 1, error: error instanceof Error ? error : new Error(String(error)) };
        diag.error("otel-taskflow: TaskTreeExporter failed", error);
      }
    }
    return result;
  }

  #add(span: TreeSpan): void {
    const trace = this.#traces.get(span.traceId) ?? new TreeTrace(span.traceId);
    this.#traces.set(span.traceId, trace);
    trace.add(span);
    this.#size += 1;
    this.#lookAfter(this.#isShutdown ? 0 : this.#settings.quietTime, trace);
    while (this.#size > SPAN_LIMIT) this.#forgetOldest();
  }

  // no span of the trace has arrived for `quiet` ms
  #lookAfter(wait: number, trace: TreeTrace, quiet = 0): void {
    clearTimeout(trace.timer);
    trace.timer = setTimeout(() => this.#look(trace, quiet + wait), wait);
    if (!this.#isShutdown) trace.timer.unref();
  }

  // A trace that is unfinished is looked at again when it has been quiet for twice as long.
  #look(trace: TreeTrace, quiet: number): void {
    const left = UNFINISHED_QUIET - quiet;
    const keep =
      left > 0 && !this.#isShutdown && trace.isUnfinished((id, since) => this.#hasRunElsewhere(trace, id, since));
    if (keep) this.#lookAfter(Math.min(left, Math.max(1, quiet)), trace, quiet);
    else this.#tryPrint(trace);
  }

  #hasRunElsewhere(here: TreeTrace, taskId: string, since: number): boolean {
    for (const trace of this.#traces.values()) if (trace !== here && trace.hasRun(taskId, since)) return true;
    return false;
  }

  #forgetOldest(): void {
    const [oldest] = this.#traces.values();
    if (oldest === undefined) return;
    this.#traces.delete(oldest.traceId);
    this.#size -= oldest.count;
    this.#print(oldest);
  }

  #tryPrint(trace: TreeTrace): void {
    try {
      this.#print(trace);
    } catch (error) {
      diag.error("otel-taskflow: TaskTreeExporter could not print a trace", error);
    }
  }

  #print(trace: TreeTrace): void {
    clearTimeout(trace.timer);
    const spans = trace.take();
    if (spans.length === 0) return;
    const continued = trace.origin !== undefined;
    trace.origin ??= earliest(spans);
    const { stream, color, width } = this.#settings;
    const columns = width ?? columnsOfStream(stream);
    stream.write(drawTree({ traceId: trace.traceId, origin: trace.origin, continued, spans }, { columns, color }));
  }
}

function columnsOfStream({ columns }: TaskTreeStream): number {
  if (typeof columns !== "number" || !(columns > 0)) return WIDTH_DEFAULT;
  return Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, Math.floor(columns)));
}

function settingsOf(options: TaskTreeExporterOptions): Settings {
  checkKeys("TaskTreeExporter", options, KEYS);
  const { stream = process.stdout, width, color, quietTime } = options;
  if (typeof stream?.write !== "function") {
    throw new TaskConfigError(`TaskTreeExporter: stream must have a write() method, got ${show(stream)}`);
  }
  if (color !== undefined && typeof color !== "boolean") {
    throw new TaskConfigError(`TaskTreeExporter: color must be a boolean, got ${show(color)}`);
  }
  if (width !== undefined && !(Number.isInteger(width) && width >= WIDTH_MIN && width <= WIDTH_MAX)) {
    throw new TaskConfigError(`TaskTreeExporter: width must be an integer from 40 to 500, got ${show(width)}`);
  }
  if (quietTime !== undefined && !(typeof quietTime === "number" && quietTime >= 0 && quietTime <= QUIET_MAX)) {
    throw new TaskConfigError(
      `TaskTreeExporter: quietTime must be a number of ms from 0 to 60000, got ${show(quietTime)}`,
    );
  }
  return Object.freeze({
    stream,
    width,
    color: color ?? (stream.isTTY === true && (process.env.NO_COLOR ?? "") === ""),
    quietTime: quietTime ?? QUIET_DEFAULT,
  });
}
