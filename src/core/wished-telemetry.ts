import { type Attributes, ROOT_CONTEXT, type SpanOptions, type SpanStatus, trace } from "@opentelemetry/api";
import type { TaskInstruments } from "./metrics.js";
import {
  ATTR_TASK_LINK,
  ATTR_TASK_NAME,
  ATTR_TASK_OUTCOME,
  ATTR_TASK_TRIGGER,
  LINK_ENQUEUE,
  LINK_PREVIOUS_RUN,
  TRIGGER_SCHEDULE,
} from "./semconv.js";
import { OwnSpan } from "./span.js";
import type { Telemetry } from "./telemetry.js";

/** An adapter's wishes for the telemetry of one task. */
export interface TelemetryWishes {
  /** Stands for the task's name in the names of its spans and in the attributes of its metrics. Default: that name. */
  readonly label?: string | undefined;
  /** The task was added by a schedule. Default false. */
  readonly isScheduled?: boolean | undefined;
  /** The task had come to its end before, and was started again: its link says so. Default false. */
  readonly isReplay?: boolean | undefined;
  /** The status of an attempt's span that will be retried. Default `"error"`. */
  readonly retryStatus?: "error" | "unset" | undefined;
}

/** `telemetry` as it is wished for one task; the very one where nothing is wished. */
export function wishedTelemetry(telemetry: Telemetry, wishes: TelemetryWishes): Telemetry {
  const { label, isScheduled = false, isReplay = false, retryStatus = "error" } = wishes;
  if (label === undefined && !isScheduled && !isReplay && retryStatus === "error") return telemetry;
  return {
    ...telemetry,
    startSpan(operation, task, parent, options) {
      const span = telemetry.startSpan(operation, label ?? task, parent, () => wishedOptions(options(), wishes));
      return retryStatus === "unset" ? withUnsetRetry(span) : span;
    },
    instruments() {
      const instruments = telemetry.instruments();
      return label === undefined ? instruments : instruments && labelled(instruments, label);
    },
  };
}

function wishedOptions(options: SpanOptions, { isScheduled = false, isReplay = false }: TelemetryWishes): SpanOptions {
  const { attributes = {}, links = [] } = options;
  return {
    ...options,
    attributes: isScheduled ? { ...attributes, [ATTR_TASK_TRIGGER]: TRIGGER_SCHEDULE } : attributes,
    links: isReplay ? links.map((link) => ({ ...link, attributes: ofPreviousRun(link.attributes) })) : links,
  };
}

function ofPreviousRun(attributes: Attributes = {}): Attributes {
  return attributes[ATTR_TASK_LINK] === LINK_ENQUEUE
    ? { ...attributes, [ATTR_TASK_LINK]: LINK_PREVIOUS_RUN }
    : attributes;
}

function labelled(instruments: TaskInstruments, label: string): TaskInstruments {
  const named = (attributes: Attributes | undefined): Attributes => ({ ...attributes, [ATTR_TASK_NAME]: label });
  const { enqueued, finished, attemptDuration, waitDuration, active } = instruments;
  return {
    // the conventions' own metrics know no task
    ...instruments,
    enqueued: { add: (value, attributes) => enqueued.add(value, named(attributes)) },
    finished: { add: (value, attributes) => finished.add(value, named(attributes)) },
    active: { add: (value, attributes) => active.add(value, named(attributes)) },
    attemptDuration: { record: (value, attributes) => attemptDuration.record(value, named(attributes)) },
    waitDuration: { record: (value, attributes) => waitDuration.record(value, named(attributes)) },
  };
}

function withUnsetRetry(span: OwnSpan): OwnSpan {
  const providers = trace.getSpan(span.within(ROOT_CONTEXT));
  return providers === undefined ? span : new UnsetRetrySpan(providers);
}

/** A span whose status stays unset where its attempt will be retried. */
class UnsetRetrySpan extends OwnSpan {
  #isRetry = false;

  override setAttributes(attributes: Attributes): void {
    this.#isRetry ||= attributes[ATTR_TASK_OUTCOME] === "retry";
    super.setAttributes(attributes);
  }

  override setStatus(status: SpanStatus): void {
    if (!this.#isRetry) super.setStatus(status);
  }
}
