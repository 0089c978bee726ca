import { type Attributes, type Context, propagation, ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import {
  assignedIdAttributes,
  identityAttributes,
  type TaskIdentity,
  type TaskRoute,
  taskAttributes,
} from "./attributes.js";
import { withForeignBaggage, withTaskBaggage } from "./baggage.js";
import { inject, type TaskOrigin } from "./carrier.js";
import {
  checkFunction,
  checkKeys,
  checkNumber,
  checkObject,
  checkOptional,
  checkRelation,
  checkText,
  namesOf,
  show,
} from "./checks.js";
import { activeContext, isSuppressed, SUPPRESS_TRACING, withContext } from "./context.js";
import { describeException } from "./exception.js";
import { finishSpan } from "./finish.js";
import { ask, atOnce, warn } from "./guard.js";
import { INFO_KEYS } from "./info-keys.js";
import { activeContextIn, attemptIn } from "./live-attempt.js";
import { measureSent } from "./metrics.js";
import {
  EVENT_ENQUEUE_EXCEPTION,
  EVENT_MESSAGING_SEND_EXCEPTION,
  OPERATION_ENQUEUE,
  OPERATION_TYPE_SEND,
} from "./semconv.js";
import type { OwnSpan } from "./span.js";
import { copyTags } from "./tags.js";
import { type Telemetry, telemetryOf } from "./telemetry.js";
import { isThenable } from "./thenable.js";
import type { Carrier, TaskInfo, TaskRelation, TaskTags } from "./types.js";

/** One task about to be enqueued, checked and complete. */
export interface EnqueueRequest {
  readonly id: string;
  readonly tags: TaskTags;
  /** Milliseconds until the first attempt is due. */
  readonly delay: number;
  /** Attempts after the first, where this one task has a number of its own. */
  readonly retries: number | undefined;
}

/** The wishes for one task, before they are checked. */
export interface RequestedTask extends Pick<TaskInfo, "taskId" | "tags" | "delay"> {
  readonly retries?: number | undefined;
}

/** Settings that all tasks of a name share, checked and complete. */
export interface EnqueueSettings {
  readonly name: string;
  readonly maxAttempts: number | undefined;
  readonly relation: TaskRelation;
  readonly route: TaskRoute;
  readonly telemetry: Telemetry;
  /** Nothing is sent anywhere, so that `send` need not run inside the enqueue span. Default false. */
  readonly inProcess?: boolean;
}

/** Options of {@link enqueueTask}, which say how to read the result of `send`. */
export interface EnqueueOptions<T> {
  /**
   * Returns the id that the engine gave the task, where it assigns its own. Default: the task has the id that `send`
   * got.
   */
  readonly idOf?: ((result: T) => string | undefined) | undefined;
  /** Returns false where the engine had the task already, which is then not counted. Default: every task was stored. */
  readonly isStored?: ((result: T) => boolean) | undefined;
}

/** A task that is being handed to its engine. */
interface Handover {
  readonly origin: TaskIdentity;
  readonly span: OwnSpan;
  readonly settings: EnqueueSettings;
  /** On performance.now()'s axis; 0 where no broker is involved. */
  readonly sentAt: number;
}

const ENQUEUE_KEYS = namesOf<EnqueueOptions<unknown>>({ idOf: true, isStored: true });

/**
 * Hands a task to any queue: calls `send` inside a PRODUCER span, with a carrier to store beside the task and the
 * task's id. The consumer gives that carrier to `runAttempt`. Resolves to what `send` returned; rejects with what it
 * threw, untouched. Without an SDK the carrier still holds the task's name, id, tags and due time.
 *
 * @throws TaskConfigError for an illegal tag or option; `send` is not called then.
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
export async function enqueueTask<T>(
  task: TaskInfo,
  send: (carrier: Carrier, taskId: string) => T | Promise<T>,
  options: EnqueueOptions<T> = {},
): Promise<T> {
  checkObject("enqueueTask(): its first argument", task);
  checkFunction("enqueueTask(): its second argument", send);
  checkKeys("enqueueTask()", task, INFO_KEYS);
  checkKeys("enqueueTask()", options, ENQUEUE_KEYS);
  const stored = (origin: TaskOrigin): T | Promise<T> => send(inject(origin), origin.id);
  return await enqueue(requestOf(task), settingsOf(task), stored, guarded(options));
}

/** Options whose functions may throw or answer anything as those of {@link enqueue}, which do not. */
export function guarded<T>({ idOf, isStored }: EnqueueOptions<T>): EnqueueOptions<T> {
  return {
    idOf: idOf && ((result) => assignedId(() => idOf(result))),
    isStored: isStored && ((result) => ask("isStored", () => isStored(result), true)),
  };
}

/**
 * Does the work of {@link enqueueTask} for engines: `send` gets the task's origin itself, to keep or to inject. Returns
 * a promise only where `send` does. No option may throw.
 */
export function enqueue<T>(
  { id, tags, delay, retries }: EnqueueRequest,
  settings: EnqueueSettings,
  send: (origin: TaskOrigin) => T | Promise<T>,
  options: EnqueueOptions<T>,
): T | Promise<T> {
  const around = activeContext();
  const attempt = attemptIn(around);
  const active = activeContextIn(attempt, around);
  const { name, relation, route, telemetry, inProcess = false } = settings;
  const maxAttempts = retries === undefined ? settings.maxAttempts : retries + 1;
  const parentId = attempt?.task.taskId;
  // whoever makes a span's attributes of baggage would say of this task what is said there of another
  const foreign = withForeignBaggage(active);
  const span = telemetry.startSpan(OPERATION_ENQUEUE, name, foreign, () => ({
    kind: SpanKind.PRODUCER,
    attributes: taskAttributes({ id, name, tags, parentId }, route, OPERATION_ENQUEUE, OPERATION_TYPE_SEND),
  }));
  // inside a task the baggage entries are the task's own; outside, one that claims to be a task's must reach no broker
  const clean = parentId === undefined ? foreign : active;
  const sending = span.within(clean);
  const carried = carriedContext(relation, sending);
  // an attempt has its tags as baggage in any case; they are needed here where a carrier takes them there
  const context = inProcess ? carried : withTaskBaggage(carried, { id, tags }, telemetry.baggage);
  const enqueuedAt = Date.now();
  const dueAt = enqueuedAt + delay;
  const origin = { id, name, tags, maxAttempts, retries, relation, enqueuedAt, dueAt, parentId, context };
  const handover = { origin, span, settings, sentAt: route.system === undefined ? 0 : performance.now() };
  let sent: T;
  try {
    // where no span was started and no baggage removed, the right context is active already
    const isHere = inProcess || sending === around;
    const sentOrPending = isHere ? sendNow(send, origin) : withContext(sending, () => sendNow(send, origin));
    if (isThenable(sentOrPending)) return whenSent(sentOrPending, handover, options);
    sent = sentOrPending;
  } catch (error) {
    finishFailed(error, handover);
    throw error;
  }
  return finishSent(sent, handover, options);
}

// The attempts start from this context. Suppression is a wish of the code that enqueues, so its task leaves without
// trace and baggage, through every engine alike; the attempts that run later are recorded.
function carriedContext(relation: TaskRelation, sending: Context): Context {
  if (relation === "none") return ROOT_CONTEXT;
  if (!isSuppressed(sending)) return sending;
  return propagation.deleteBaggage(trace.deleteSpan(sending)).deleteValue(SUPPRESS_TRACING);
}

// A query builder starts only when it is awaited; it is resolved here, so that it starts inside the enqueue span.
function sendNow<T>(send: (origin: TaskOrigin) => T | Promise<T>, origin: TaskOrigin): T | Promise<T> {
  const sent = send(origin);
  return isThenable(sent) ? Promise.resolve(sent) : sent;
}

// This follows the promise before its caller does, so that the caller goes on when the span has ended, and no later.
function whenSent<T>(sent: Promise<T>, handover: Handover, options: EnqueueOptions<T>): Promise<T> {
  sent.then(
    (result) => finishSent(result, handover, options),
    (error: unknown) => finishFailed(error, handover),
  );
  return sent;
}

function finishSent<T>(result: T, handover: Handover, options: EnqueueOptions<T>): T {
  const { span, settings, sentAt } = handover;
  const { name, route, telemetry } = settings;
  const id = options.idOf?.(result);
  if (id !== undefined) span.setAttributes(assignedIdAttributes(id, route));
  const isNew = options.isStored?.(result) ?? true;
  measureSent(telemetry.instruments(), { name, route, sentAt, isNew });
  finishSpan(span);
  return result;
}

// The failure is a warning only, because the caller hears of it and may try again.
function finishFailed(error: unknown, { origin, span, settings, sentAt }: Handover): void {
  const { name, route, telemetry } = settings;
  const exception = describeException(error);
  measureSent(telemetry.instruments(), { name, route, sentAt, isNew: true, errorType: exception.type });
  const eventName = route.system === undefined ? EVENT_ENQUEUE_EXCEPTION : EVENT_MESSAGING_SEND_EXCEPTION;
  const task = (): Attributes => identityAttributes(origin.id, origin.name, origin.tags);
  finishSpan(span, { exception, eventName, level: "warn", telemetry, task });
}

function assignedId(idOf: () => unknown): string | undefined {
  const id = atOnce("idOf", idOf)?.value;
  if (typeof id === "string") return id;
  if (id !== undefined) warn(`idOf: expected a string or undefined, received ${show(id)}`);
  return undefined;
}

/**
 * Checks and completes the wishes for one task. `told` hears the key of each tag that was cut.
 *
 * @throws TaskConfigError for an illegal tag, id, delay or number of retries.
 */
export function requestOf(
  { taskId, tags, delay = 0, retries }: RequestedTask,
  told?: (tag: string) => void,
): EnqueueRequest {
  return {
    id: taskId === undefined ? crypto.randomUUID() : checkText("taskId", taskId),
    tags: copyTags(tags, told),
    delay: checkNumber("delay", delay, { min: 0 }),
    retries: checkOptional("retries", retries, { min: 0, integer: true }),
  };
}

function settingsOf(task: TaskInfo): EnqueueSettings {
  const { maxAttempts, engine, system, destination } = task;
  return {
    name: checkText("funcName", task.funcName),
    maxAttempts: checkOptional("maxAttempts", maxAttempts, { min: 1, integer: true }),
    relation: checkRelation(task.relation ?? "parent"),
    route: { engine, system, destination },
    telemetry: telemetryOf(task),
  };
}
