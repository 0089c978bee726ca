import {
  type Context,
  createNoopMeter,
  INVALID_SPAN_CONTEXT,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type SpanOptions,
  type TextMapPropagator,
  type Tracer,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import { injectContext } from "../core/carrier.js";
import { activeContext } from "../core/context.js";
import { quietly, safely } from "../core/guard.js";
import { ATTR_MESSAGING_DESTINATION_NAME, ATTR_MESSAGING_OPERATION_NAME, SCOPE_NAME } from "../core/semconv.js";
import type { Carrier } from "../core/types.js";
import { fieldsOf } from "../core/wire.js";
import { carriersOf } from "../engines/pg-boss/library.js";
import type { Door } from "./door.js";
import { current, during, type Underway } from "./pg-boss-underway.js";

/** Leads from an instance of pg-boss to its column. All copies of this package know it. */
const COLUMN: unique symbol = Symbol.for("otel-taskflow.pg-boss-column.1");
/** The key of a carrier that tells of a job which one of pg-boss's schedules has sent. */
const TRIGGER_KEY = `${SCOPE_NAME}-trigger`;
const SCHEDULE = "schedule";
/** Begins the names of pg-boss's own queues. */
const INTERNAL = "__pgboss__";
const DEFAULT_SCHEMA = "pgboss";

/** The trace column of an instance of pg-boss that has this library's propagator. */
export interface Column {
  /** Calls what makes or fetches jobs by the settings of `call`. */
  during<T>(call: Underway, fn: () => T): T;
  /**
   * The carriers of a batch, asked for where pg-boss calls its handler; `undefined` for a job that has none. A promise
   * only where pg-boss has not said which jobs have one.
   */
  arrived(boss: object, queue: string, jobs: readonly { id: string }[]): Carriers | Promise<Carriers>;
  /** The same for jobs that were fetched, with the carriers of {@link Underway}. */
  fetched(boss: object, queue: string, jobs: readonly { id: string }[], found: Carrier[]): Carriers | Promise<Carriers>;
}

/** The carriers of some jobs, in their order. */
type Carriers = readonly (Carrier | undefined)[];

/** Options of pg-boss's constructor, by which an instance gets a column. */
interface WithColumn {
  readonly config: object;
  /** Tells of the instance that was made with them. A pg-boss that does not know the option gets no column. */
  attach(boss: object): void;
}

/** The service's own `openTelemetry` of pg-boss's constructor. */
interface Native {
  /** pg-boss makes spans, as the service has asked for. */
  readonly isOwn: boolean;
  readonly propagates: boolean;
  readonly propagator: TextMapPropagator | undefined;
  readonly tracerProvider: TracerProvider | undefined;
}

/** What pg-boss is doing, in the very turn in which it calls tracer and propagator. */
interface Turn {
  operation?: unknown;
  queue?: unknown;
  carrier?: Carrier | undefined;
  /** Carriers that it has read for the batch whose span it starts next. */
  read: Carrier[];
  batch?: { readonly queue: unknown; readonly carriers: Carrier[] } | undefined;
}

/** The column of an instance of pg-boss; `undefined` where it has none of this library's. */
export function columnOf(boss: unknown): Column | undefined {
  const { [COLUMN]: column } = Object(boss) as { [COLUMN]?: Column };
  return column;
}

/** Whether a carrier tells no more than that a schedule of pg-boss's has sent the job. */
export function isOfSchedule(carrier: Carrier | undefined): boolean {
  return carrier?.[TRIGGER_KEY] === SCHEDULE;
}

/**
 * Adds this library's propagator to what pg-boss's constructor is given; `undefined` where that is for pg-boss to refuse.
 * Where the service says nothing of `openTelemetry`, or that it is off, pg-boss makes no spans of its own.
 */
export function withColumn(given: unknown, door: () => Door | undefined): WithColumn | undefined {
  const config = typeof given === "string" ? { connectionString: given } : given;
  if (typeof config !== "object" || config === null) return undefined;
  const { openTelemetry, schema } = fieldsOf(config);
  const native = nativeOf(openTelemetry);
  if (native === undefined) return undefined;
  let isKnown = false;
  const turn: Turn = { read: [] };
  const tracerProvider: TracerProvider = {
    getTracer(...args) {
      isKnown = true;
      return tracerThrough((native.tracerProvider ?? trace.getTracerProvider()).getTracer(...args), native, turn, door);
    },
  };
  const propagator = propagatorOf(native, turn, door);
  const silent = native.isOwn || openTelemetry == null ? {} : { meterProvider: { getMeter: createNoopMeter } };
  const ours = { enabled: true, propagateContext: true, propagator, tracerProvider };
  const column = columnWith(turn, typeof schema === "string" ? schema : DEFAULT_SCHEMA);
  return {
    config: { ...config, openTelemetry: { ...fieldsOf(openTelemetry), ...silent, ...ours } },
    attach: (boss) => isKnown && Object.defineProperty(boss, COLUMN, { value: column }),
  };
}

function nativeOf(given: unknown): Native | undefined {
  const { enabled, propagateContext, propagator, tracerProvider } = fieldsOf(given);
  const isObject = given === undefined || given === null || typeof given === "object";
  const areFlags = [enabled, propagateContext].every((flag) => flag === undefined || typeof flag === "boolean");
  const isGiven = COLUMN in Object(propagator);
  if (isGiven || !isObject || !areFlags || !has(propagator, "inject", "extract") || !has(tracerProvider, "getTracer")) {
    return undefined;
  }
  return {
    isOwn: given !== undefined && given !== null && enabled !== false,
    propagates: propagateContext === true && enabled !== false,
    // they have the methods that pg-boss asks of them
    propagator: propagator as TextMapPropagator | undefined,
    tracerProvider: tracerProvider as TracerProvider | undefined,
  };
}

function has(value: unknown, ...methods: readonly string[]): boolean {
  return value === undefined || methods.every((method) => typeof fieldsOf(value)[method] === "function");
}

// --- called by pg-boss: it starts a span, and has the propagator write or read within the same turn

function tracerThrough(tracer: Tracer, native: Native, turn: Turn, door: () => Door | undefined): Tracer {
  const startSpan = (name: string, options: SpanOptions = {}, parent?: Context): Span => {
    const { [ATTR_MESSAGING_OPERATION_NAME]: operation, [ATTR_MESSAGING_DESTINATION_NAME]: queue } =
      options.attributes ?? {};
    const start = (): Span =>
      native.isOwn || door() === undefined ? tracer.startSpan(name, options, parent) : passedOn(parent);
    Object.assign(turn, { operation, queue, carrier: undefined });
    if (operation === "process") return startBatch(turn, start());
    const call = current();
    if (call?.sendTo === undefined || operation !== "send" || typeof queue !== "string") return start();
    return call.sendTo(queue, start, (carrier) => {
      turn.carrier = carrier;
    });
  };
  return { startSpan, startActiveSpan: tracer.startActiveSpan.bind(tracer) };
}

// The active span stays the active one, as a span that nobody asked for would stand between.
function passedOn(parent: Context = activeContext()): Span {
  return trace.wrapSpanContext(trace.getSpanContext(parent) ?? INVALID_SPAN_CONTEXT);
}

function startBatch(turn: Turn, span: Span): Span {
  const { queue, read } = turn;
  turn.batch = { queue, carriers: read };
  batches.set(span, read);
  turn.read = [];
  forgetAfter(turn);
  return span;
}

/** The carriers of a batch by pg-boss's span of it, for a handler that is called in a later turn. */
const batches = new WeakMap<object, Carrier[]>();

function propagatorOf(
  native: Native,
  turn: Turn,
  door: () => Door | undefined,
): TextMapPropagator<object> & { readonly [COLUMN]: true } {
  const theirs = native.propagator ?? propagation;
  return {
    [COLUMN]: true,
    fields: () => theirs.fields(),
    inject(context, injected, setter) {
      if (native.propagates) theirs.inject(context, injected, setter);
      safely("storing a carrier", () => {
        const carrier = turn.carrier ?? carrierNow(turn, door());
        for (const [key, value] of Object.entries(carrier ?? {})) setter.set(injected, key, value);
      });
    },
    extract(context, carrier, getter) {
      const found = safely("reading a carrier", () => readCarrier(carrier, native, getter));
      if (found !== undefined) keepRead(turn, found);
      return native.propagates ? theirs.extract(context, carrier, getter) : context;
    },
  };
}

// Each call of an application's is under way here. What pg-boss sends by itself, its schedules send.
function carrierNow({ operation, queue }: Turn, door: Door | undefined): Carrier | undefined {
  const call = current();
  if (call !== undefined) return call.carrier;
  const isScheduled = operation === "send" && typeof queue === "string" && !queue.startsWith(INTERNAL);
  return isScheduled && door !== undefined && door.producer !== false ? { [TRIGGER_KEY]: SCHEDULE } : undefined;
}

// A propagator of the service's own may write what only it can read.
function readCarrier(
  carrier: object,
  { propagator }: Native,
  getter: Parameters<TextMapPropagator<object>["extract"]>[2],
): Carrier {
  // pg-boss stored what a propagator has written as JSON; whoever reads it believes nothing of it
  const stored = carrier as Carrier;
  if (propagator === undefined || SCOPE_NAME in stored) return stored;
  const read = injectContext(propagator.extract(ROOT_CONTEXT, carrier, getter));
  return isOfSchedule(stored) ? { ...read, [TRIGGER_KEY]: SCHEDULE } : read;
}

function keepRead(turn: Turn, carrier: Carrier): void {
  const { fetched } = current() ?? {};
  if (fetched !== undefined) {
    fetched.push(carrier);
    return;
  }
  if (turn.read.length === 0) forgetAfter(turn);
  turn.read.push(carrier);
}

function forgetAfter(turn: Turn): void {
  queueMicrotask(() => {
    turn.read = [];
    turn.batch = undefined;
  });
}

// --- called by the adapter

function columnWith(turn: Turn, schema: string): Column {
  // pg-boss reads carriers aloud, and not whose they are, so that the table is asked where some jobs have none
  const askFor = (boss: object, queue: string, jobs: readonly { id: string }[]): Promise<Carriers> =>
    quietly("asking for the carriers of a batch", () => carriersOf(boss, schema, queue, jobs), []);
  const fetched: Column["fetched"] = (boss, queue, jobs, found) => {
    if (found.length === 0) return [];
    return found.length === jobs.length ? found : askFor(boss, queue, jobs);
  };
  return {
    during,
    fetched,
    arrived(boss, queue, jobs) {
      const { batch } = turn;
      const span = trace.getSpan(activeContext());
      const found = batch?.queue === queue ? batch?.carriers : span && batches.get(span);
      return found === undefined ? askFor(boss, queue, jobs) : fetched(boss, queue, jobs, found);
    },
  };
}
