import type { Attributes, Counter, Histogram, MeterProvider, UpDownCounter } from "@opentelemetry/api";
import type { TaskRoute } from "./attributes.js";
import { safely } from "./guard.js";
import {
  ATTR_ERROR_TYPE,
  ATTR_MESSAGING_DESTINATION_NAME,
  ATTR_MESSAGING_OPERATION_NAME,
  ATTR_MESSAGING_OPERATION_TYPE,
  ATTR_MESSAGING_SYSTEM,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_TASK_ENGINE,
  ATTR_TASK_NAME,
  ATTR_TASK_OUTCOME,
  METRIC_MESSAGING_CONSUMED,
  METRIC_MESSAGING_OPERATION_DURATION,
  METRIC_MESSAGING_PROCESS_DURATION,
  METRIC_MESSAGING_SENT,
  METRIC_TASK_ATTEMPT_ACTIVE,
  METRIC_TASK_ATTEMPT_DURATION,
  METRIC_TASK_ENQUEUED,
  METRIC_TASK_FINISHED,
  METRIC_TASK_WAIT_DURATION,
  OPERATION_ENQUEUE,
  OPERATION_PROCESS,
  OPERATION_TYPE_SEND,
  SCHEMA_URL,
  SCOPE_NAME,
  SCOPE_VERSION,
} from "./semconv.js";
import type { TaskOutcome } from "./types.js";

/** Histogram boundaries in seconds, from 5 ms to an hour, as tasks are slower than requests. */
const BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/**
 * Those of the conventions.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/
 */
const MESSAGING_BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** The outcomes that no further attempt follows. After `error` nobody here knows, so it is not among them. */
const FINAL: readonly TaskOutcome[] = ["success", "failure", "cancelled"];

/** The instruments of one meter provider. Their attributes are names and outcomes, never ids or tags. */
export interface TaskInstruments {
  readonly enqueued: Counter;
  readonly finished: Counter;
  readonly attemptDuration: Histogram;
  readonly waitDuration: Histogram;
  readonly active: UpDownCounter;
  /** Those of the conventions, where a broker is involved. */
  readonly sent: Counter;
  readonly consumed: Counter;
  readonly sendDuration: Histogram;
  readonly processDuration: Histogram;
}

/** @see https://opentelemetry.io/docs/specs/otel/metrics/api/#instrument-advisory-parameters */
export function createInstruments(provider: MeterProvider): TaskInstruments {
  const meter = provider.getMeter(SCOPE_NAME, SCOPE_VERSION, { schemaUrl: SCHEMA_URL });
  const counter = (name: string, description: string, unit: string): Counter =>
    meter.createCounter(name, { description, unit });
  const seconds = (name: string, description: string, explicitBucketBoundaries = BOUNDARIES): Histogram =>
    meter.createHistogram(name, { description, unit: "s", advice: { explicitBucketBoundaries } });
  const active = { description: "Attempts that are running.", unit: "{attempt}" };
  return {
    enqueued: counter(METRIC_TASK_ENQUEUED, "Tasks given to the engine.", "{task}"),
    finished: counter(METRIC_TASK_FINISHED, "Tasks that reached their final outcome.", "{task}"),
    attemptDuration: seconds(METRIC_TASK_ATTEMPT_DURATION, "Time an attempt ran, hooks apart."),
    waitDuration: seconds(METRIC_TASK_WAIT_DURATION, "Time from due to start of an attempt."),
    active: meter.createUpDownCounter(METRIC_TASK_ATTEMPT_ACTIVE, active),
    sent: counter(METRIC_MESSAGING_SENT, "Messages that a producer tried to send.", "{message}"),
    consumed: counter(METRIC_MESSAGING_CONSUMED, "Messages delivered to a worker.", "{message}"),
    sendDuration: seconds(METRIC_MESSAGING_OPERATION_DURATION, "Time it took to send a message.", MESSAGING_BOUNDARIES),
    processDuration: seconds(
      METRIC_MESSAGING_PROCESS_DURATION,
      "Time it took to process a message.",
      MESSAGING_BOUNDARIES,
    ),
  };
}

/** The end of an enqueue. */
export interface SentTask {
  readonly name: string;
  readonly route: TaskRoute;
  /**
   * When the task was handed to the engine, on performance.now()'s axis; `undefined` for each but one of those that are
   * handed over by one call.
   */
  readonly sentAt: number | undefined;
  /** False where the engine had the task already. */
  readonly isNew: boolean;
  /** `undefined` where the engine has accepted it. */
  readonly errorType?: string | undefined;
}

/** Counts a task that was handed to its engine, accepted or not, and measures how long that took a broker. */
export function measureSent(instruments: TaskInstruments | undefined, sent: SentTask): void {
  if (instruments === undefined) return;
  const { name, route, sentAt, isNew, errorType } = sent;
  const failed = failureLabels(errorType);
  safely("measuring", () => {
    if (isNew) instruments.enqueued.add(1, { ...labels(name, route), ...failed });
    if (route.system === undefined) return;
    const attributes = { ...messageLabels(route, OPERATION_ENQUEUE), ...failed };
    instruments.sent.add(1, attributes);
    if (sentAt === undefined) return;
    const timed = { ...attributes, [ATTR_MESSAGING_OPERATION_TYPE]: OPERATION_TYPE_SEND };
    instruments.sendDuration.record((performance.now() - sentAt) / 1000, timed);
  });
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
  /** `undefined` where no broker is involved. */
  readonly #message: Attributes | undefined;
  readonly #startedAt: number = performance.now();

  /** `wait` in seconds. */
  constructor(instruments: TaskInstruments, name: string, route: TaskRoute, wait: number | undefined) {
    this.#instruments = instruments;
    this.#labels = labels(name, route);
    this.#message = route.system === undefined ? undefined : messageLabels(route, OPERATION_PROCESS);
    safely("measuring", () => {
      instruments.active.add(1, this.#labels);
      if (this.#message !== undefined) instruments.consumed.add(1, this.#message);
      if (wait !== undefined) instruments.waitDuration.record(wait, this.#labels);
    });
  }

  /** `endedAt`: the moment it settled, on performance.now()'s axis. */
  end(outcome: TaskOutcome, errorType: string | undefined, endedAt: number): void {
    const instruments = this.#instruments;
    safely("measuring", () => {
      instruments.active.add(-1, this.#labels);
      const failed = failureLabels(errorType);
      const attributes: Attributes = { ...this.#labels, [ATTR_TASK_OUTCOME]: outcome, ...failed };
      const duration = (endedAt - this.#startedAt) / 1000;
      instruments.attemptDuration.record(duration, attributes);
      if (this.#message !== undefined) instruments.processDuration.record(duration, { ...this.#message, ...failed });
      if (FINAL.includes(outcome)) instruments.finished.add(1, attributes);
    });
  }
}

function labels(name: string, { engine, destination }: TaskRoute): Attributes {
  const attributes: Attributes = { [ATTR_TASK_NAME]: name };
  if (engine !== undefined) attributes[ATTR_TASK_ENGINE] = engine;
  if (destination !== undefined) attributes[ATTR_MESSAGING_DESTINATION_NAME] = destination;
  return attributes;
}

function messageLabels({ system, destination, server }: TaskRoute, operation: string): Attributes {
  const attributes: Attributes = { [ATTR_MESSAGING_SYSTEM]: system ?? "", [ATTR_MESSAGING_OPERATION_NAME]: operation };
  if (destination !== undefined) attributes[ATTR_MESSAGING_DESTINATION_NAME] = destination;
  if (server !== undefined) attributes[ATTR_SERVER_ADDRESS] = server.address;
  if (server?.port !== undefined) attributes[ATTR_SERVER_PORT] = server.port;
  return attributes;
}

function failureLabels(errorType: string | undefined): Attributes {
  return errorType === undefined ? {} : { [ATTR_ERROR_TYPE]: errorType };
}
