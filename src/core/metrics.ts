import type { Attributes, Counter, Histogram, MeterProvider, UpDownCounter } from "@opentelemetry/api";
import type { TaskRoute } from "./attributes.js";
import { safely } from "./guard.js";
import {
  ATTR_ERROR_TYPE,
  ATTR_TASK_ENGINE,
  ATTR_TASK_NAME,
  ATTR_TASK_OUTCOME,
  METRIC_TASK_ATTEMPT_ACTIVE,
  METRIC_TASK_ATTEMPT_DURATION,
  METRIC_TASK_ENQUEUED,
  METRIC_TASK_FINISHED,
  METRIC_TASK_WAIT_DURATION,
  SCOPE_NAME,
  SCOPE_VERSION,
} from "./semconv.js";
import type { TaskOutcome } from "./types.js";

/** Histogram boundaries in seconds, from 5 ms to an hour, as tasks are slower than requests. */
const BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/** The outcomes that no further attempt follows. After `error` nobody here knows, so it is not among them. */
const FINAL: readonly TaskOutcome[] = ["success", "failure", "cancelled"];

/** The instruments of one meter provider. Their attributes are names and outcomes, never ids or tags. */
export interface TaskInstruments {
  readonly enqueued: Counter;
  readonly finished: Counter;
  readonly attemptDuration: Histogram;
  readonly waitDuration: Histogram;
  readonly active: UpDownCounter;
}

/** @see https://opentelemetry.io/docs/specs/otel/metrics/api/#instrument-advisory-parameters */
export function createInstruments(provider: MeterProvider): TaskInstruments {
  const meter = provider.getMeter(SCOPE_NAME, SCOPE_VERSION);
  const seconds = (description: string): object => ({
    description,
    unit: "s",
    advice: { explicitBucketBoundaries: BOUNDARIES },
  });
  const count = (description: string, unit: string): object => ({ description, unit });
  return {
    enqueued: meter.createCounter(METRIC_TASK_ENQUEUED, count("Tasks accepted by the engine.", "{task}")),
    finished: meter.createCounter(METRIC_TASK_FINISHED, count("Tasks that reached their final outcome.", "{task}")),
    attemptDuration: meter.createHistogram(METRIC_TASK_ATTEMPT_DURATION, seconds("Time an attempt ran, hooks apart.")),
    waitDuration: meter.createHistogram(METRIC_TASK_WAIT_DURATION, seconds("Time from due to start of an attempt.")),
    active: meter.createUpDownCounter(METRIC_TASK_ATTEMPT_ACTIVE, count("Attempts that are running.", "{attempt}")),
  };
}

/** Counts a task that its engine has accepted. */
export function countEnqueued(instruments: TaskInstruments | undefined, name: string, route: TaskRoute): void {
  if (instruments === undefined) return;
  safely("measuring", () => instruments.enqueued.add(1, labels(name, route)));
}

/** Counts a task that was cancelled while no attempt of it ran. */
export function countDropped(instruments: TaskInstruments | undefined, name: string, route: TaskRoute): void {
  if (instruments === undefined) return;
  const attributes = { ...labels(name, route), [ATTR_TASK_OUTCOME]: "cancelled" };
  safely("measuring", () => instruments.finished.add(1, attributes));
}

/** Measures one attempt from its start on. It is made and ended inside the attempt, so that exemplars point to it. */
export class AttemptMeasures {
  readonly #instruments: TaskInstruments;
  readonly #labels: Attributes;
  readonly #startedAt: number = performance.now();

  /** `wait` in seconds. */
  constructor(instruments: TaskInstruments, name: string, route: TaskRoute, wait: number | undefined) {
    this.#instruments = instruments;
    this.#labels = labels(name, route);
    safely("measuring", () => {
      instruments.active.add(1, this.#labels);
      if (wait !== undefined) instruments.waitDuration.record(wait, this.#labels);
    });
  }

  /** `endedAt`: the moment it settled, on performance.now()'s axis. */
  end(outcome: TaskOutcome, errorType: string | undefined, endedAt: number): void {
    const instruments = this.#instruments;
    safely("measuring", () => {
      instruments.active.add(-1, this.#labels);
      const attributes: Attributes = { ...this.#labels, [ATTR_TASK_OUTCOME]: outcome };
      if (errorType !== undefined) attributes[ATTR_ERROR_TYPE] = errorType;
      instruments.attemptDuration.record((endedAt - this.#startedAt) / 1000, attributes);
      if (FINAL.includes(outcome)) instruments.finished.add(1, attributes);
    });
  }
}

function labels(name: string, { engine }: TaskRoute): Attributes {
  return engine === undefined ? { [ATTR_TASK_NAME]: name } : { [ATTR_TASK_NAME]: name, [ATTR_TASK_ENGINE]: engine };
}
