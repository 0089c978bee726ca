import {
  type Attributes,
  type Context,
  context,
  createNoopMeter,
  INVALID_SPAN_CONTEXT,
  isSpanContextValid,
  type Meter,
  type MeterProvider,
  type Span,
  type SpanOptions,
  type Tracer,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import { SUPPRESS_TRACING } from "../core/context.js";
import { RecordedSpan } from "./recorded-span.js";

/** One call of an instrument. */
export interface Measurement {
  /** The metric's name. */
  readonly name: string;
  readonly instrument: "counter" | "updowncounter" | "histogram" | "gauge";
  /** As the instrument was made with it. */
  readonly unit: string | undefined;
  readonly value: number;
  readonly attributes: Attributes;
}

/** The sum of what an instrument was told with the same attributes. */
export interface Total {
  readonly value: number;
  readonly attributes: Attributes;
}

/**
 * A tracer provider and a meter provider that keep what they get, made of `@opentelemetry/api` alone and registered
 * nowhere. Every span is sampled; none is made where tracing is suppressed. Observable instruments are never asked.
 */
export class Recorder {
  readonly tracerProvider: TracerProvider = { getTracer: (scope) => this.#tracer(scope) };
  readonly meterProvider: MeterProvider = { getMeter: () => this.#meter() };
  /** In order of their calls. */
  readonly measurements: Measurement[] = [];
  readonly #ended: RecordedSpan[] = [];

  /** Ended spans, in order of their end. */
  spans(): RecordedSpan[] {
    return [...this.#ended];
  }

  /** Ended spans of this name. */
  named(name: string): RecordedSpan[] {
    return this.#ended.filter((span) => span.name === name);
  }

  /**
   * The one ended span of this name.
   *
   * @throws Error where there is none, or more than one.
   */
  span(name: string): RecordedSpan {
    const [span, ...others] = this.named(name);
    if (span !== undefined && others.length === 0) return span;
    const all = this.#ended.map((one) => one.name);
    throw new Error(`expected one span named "${name}", got ${JSON.stringify(all)}`);
  }

  /** The sums of a counter, or of a histogram's values, by their attributes. */
  totals(metric: string): Total[] {
    const sums = new Map<string, Total>();
    for (const { name, value, attributes } of this.measurements) {
      if (name !== metric) continue;
      const key = JSON.stringify(Object.entries(attributes).sort());
      sums.set(key, { attributes, value: (sums.get(key)?.value ?? 0) + value });
    }
    return [...sums.values()];
  }

  #tracer(scope: string): Tracer {
    const startSpan = (name: string, options: SpanOptions = {}, within: Context = context.active()): Span => {
      const around = options.root === true ? undefined : trace.getSpanContext(within);
      const parent = around !== undefined && isSpanContextValid(around) ? around : undefined;
      if (within.getValue(SUPPRESS_TRACING) === true) return trace.wrapSpanContext(around ?? INVALID_SPAN_CONTEXT);
      return new RecordedSpan({ name, scope, parent }, options, (span) => void this.#ended.push(span));
    };
    const startActiveSpan = (name: string, ...rest: unknown[]): unknown => {
      // the function is the last argument of each overload of the API
      const fn = rest.pop() as (span: Span) => unknown;
      // the overloads begin with the options, and the context follows them
      const [options, within = context.active()] = rest as [SpanOptions?, Context?];
      const span = startSpan(name, options, within);
      return context.with(trace.setSpan(within, span), fn, undefined, span);
    };
    // one implementation of the API's three overloads
    return { startSpan, startActiveSpan: startActiveSpan as Tracer["startActiveSpan"] };
  }

  #meter(): Meter {
    type Keep = (value: number, attributes?: Attributes) => void;
    type Make<Method extends string> = (name: string, options?: { unit?: string }) => Record<Method, Keep>;
    const making =
      <Method extends "add" | "record">(instrument: Measurement["instrument"], method: Method): Make<Method> =>
      (name, { unit } = {}) => {
        const keep: Keep = (value, attributes) =>
          void this.measurements.push({ name, instrument, unit, value, attributes: { ...attributes } });
        // an object of this one method
        return { [method]: keep } as Record<Method, Keep>;
      };
    return Object.assign(Object.create(createNoopMeter()), {
      createCounter: making("counter", "add"),
      createUpDownCounter: making("updowncounter", "add"),
      createHistogram: making("histogram", "record"),
      createGauge: making("gauge", "record"),
    });
  }
}
