import { randomBytes } from "node:crypto";
import {
  type Attributes,
  type AttributeValue,
  type Exception,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
} from "@opentelemetry/api";
import {
  ATTR_EXCEPTION_MESSAGE,
  ATTR_EXCEPTION_STACKTRACE,
  ATTR_EXCEPTION_TYPE,
  EVENT_EXCEPTION,
} from "../core/semconv.js";

/** An event of a {@link RecordedSpan}. */
export interface RecordedEvent {
  readonly name: string;
  readonly attributes: Attributes;
  /** Epoch milliseconds. */
  readonly time: number;
}

/** A span that keeps what it is told, for tests to look at. After `end()` it keeps nothing more. */
export class RecordedSpan implements Span {
  name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
  readonly links: Link[];
  readonly events: RecordedEvent[] = [];
  status: SpanStatus = { code: SpanStatusCode.UNSET };
  /** The tracer's name. */
  readonly scope: string;
  /** `undefined` for the root of a trace. */
  readonly parentSpanContext: SpanContext | undefined;
  /** Epoch milliseconds. */
  readonly startTime: number;
  /** Epoch milliseconds; `undefined` as long as it has not ended. */
  endTime: number | undefined;
  readonly #context: SpanContext;
  readonly #onEnd: (span: RecordedSpan) => void;

  constructor(
    given: { readonly name: string; readonly scope: string; readonly parent: SpanContext | undefined },
    { kind = SpanKind.INTERNAL, attributes = {}, links = [], startTime }: SpanOptions,
    onEnd: (span: RecordedSpan) => void,
  ) {
    const { name, scope, parent } = given;
    this.name = name;
    this.kind = kind;
    this.attributes = { ...attributes };
    this.links = [...links];
    this.scope = scope;
    this.parentSpanContext = parent;
    this.startTime = epochMs(startTime);
    const traceId = parent?.traceId ?? randomBytes(16).toString("hex");
    this.#context = { traceId, spanId: randomBytes(8).toString("hex"), traceFlags: TraceFlags.SAMPLED };
    this.#onEnd = onEnd;
  }

  spanContext(): SpanContext {
    return this.#context;
  }

  isRecording(): boolean {
    return this.endTime === undefined;
  }

  setAttribute(key: string, value: AttributeValue): this {
    return this.setAttributes({ [key]: value });
  }

  setAttributes(attributes: Attributes): this {
    if (this.isRecording()) Object.assign(this.attributes, attributes);
    return this;
  }

  addEvent(name: string, attributesOrTime?: Attributes | TimeInput, time?: TimeInput): this {
    if (!this.isRecording()) return this;
    const given = isTime(attributesOrTime)
      ? { attributes: {}, time: attributesOrTime }
      : { attributes: { ...attributesOrTime }, time };
    this.events.push({ name, attributes: given.attributes, time: epochMs(given.time) });
    return this;
  }

  addLink(link: Link): this {
    return this.addLinks([link]);
  }

  addLinks(links: Link[]): this {
    if (this.isRecording()) this.links.push(...links);
    return this;
  }

  setStatus(status: SpanStatus): this {
    if (this.isRecording()) this.status = { ...status };
    return this;
  }

  updateName(name: string): this {
    if (this.isRecording()) this.name = name;
    return this;
  }

  recordException(exception: Exception, time?: TimeInput): void {
    this.addEvent(EVENT_EXCEPTION, exceptionAttributes(exception), time);
  }

  end(endTime?: TimeInput): void {
    if (!this.isRecording()) return;
    this.endTime = epochMs(endTime);
    this.#onEnd(this);
  }
}

function exceptionAttributes(exception: Exception): Attributes {
  if (typeof exception === "string") return { [ATTR_EXCEPTION_MESSAGE]: exception };
  const { name, code, message, stack } = exception;
  const type = code === undefined ? name : String(code);
  const attributes = {
    [ATTR_EXCEPTION_TYPE]: type,
    [ATTR_EXCEPTION_MESSAGE]: message,
    [ATTR_EXCEPTION_STACKTRACE]: stack,
  };
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}

function isTime(value: Attributes | TimeInput | undefined): value is TimeInput {
  return typeof value === "number" || value instanceof Date || Array.isArray(value);
}

/** A number before the process began is one of performance.now(), as the API has it. */
function epochMs(time: TimeInput | undefined): number {
  if (time === undefined) return performance.timeOrigin + performance.now();
  if (time instanceof Date) return time.getTime();
  if (Array.isArray(time)) return time[0] * 1_000 + time[1] / 1_000_000;
  return time < performance.timeOrigin ? performance.timeOrigin + time : time;
}
