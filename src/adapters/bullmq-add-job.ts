import { ROOT_CONTEXT } from "@opentelemetry/api";
import { boundedName } from "../core/bounded-name.js";
import { inject, type TaskOrigin } from "../core/carrier.js";
import { checkRelation } from "../core/checks.js";
import {
  type EnqueueOptions,
  type EnqueueRequest,
  type EnqueueSettings,
  enqueue,
  guarded,
  requestOf,
} from "../core/enqueue.js";
import { quietly } from "../core/guard.js";
import { NO_TAGS } from "../core/tags.js";
import { telemetryOf } from "../core/telemetry.js";
import { isThenable } from "../core/thenable.js";
import type { ProducerOptions, TaskTags } from "../core/types.js";
import { fieldsOf } from "../core/wire.js";
import { wishedTelemetry } from "../core/wished-telemetry.js";
import {
  ADDED_KEY,
  BULLMQ,
  carriedBy,
  isEnqueued,
  labelOf,
  markStored,
  routeOf,
  UNNAMED,
  withFreshCarrier,
  withoutCarrier,
} from "../engines/bullmq/stored-task.js";
import { type Door, type JobView, telemetryAt } from "./door.js";

/** Stands for the mark of a job that was added without one. */
const UNMARKED = "";

/** A job about to be added, as its caller gave it. */
export interface NewJob {
  readonly name: unknown;
  readonly data: unknown;
  readonly opts?: unknown;
}

/** The part that is used of a queue to which a job is added; a mock may lack all of it. */
export interface TargetQueue {
  readonly name?: string | undefined;
  getJob?(id: string): unknown;
}

/** A job that becomes a task. */
interface NewTask {
  readonly request: EnqueueRequest;
  readonly settings: EnqueueSettings;
}

/** How a job is added. */
export interface Addition {
  /** BullMQ's own options, which a carrier joins where there is a task. */
  readonly options: unknown;
  /** `undefined` where the job is added without an enqueue span. */
  readonly task: NewTask | undefined;
}

/** What is heard of a job that was added. */
const TOLD: EnqueueOptions<unknown> = guarded({ idOf: hearOf });

/**
 * Decides how a job is added. `own` are the wishes of a call by hand. A job that has its enqueue span already is passed
 * on; so is one that a schedule repeats, whose runs are tasks of their own.
 *
 * @throws TaskConfigError for an illegal tag or option in `own`.
 */
export function additionOf(
  door: Door,
  queue: TargetQueue,
  { name, data, opts }: NewJob,
  own?: ProducerOptions,
): Addition {
  const options = fieldsOf(opts);
  if (isEnqueued(options)) return { options: opts, task: undefined };
  const route = routeOf(labelOf(queue.name));
  const id = labelOf(options.jobId);
  const funcName = labelOf(name) ?? UNNAMED;
  const view: JobView = { library: BULLMQ, queue: route.destination ?? "", name: funcName, id, data, attempt: 0 };
  if (door.ignore?.(view)) return { options: opts, task: undefined };
  const request = requestOf({ taskId: id, tags: own?.tags ?? door.tags?.(view) });
  const relation = checkRelation(own?.relation ?? door.relation?.(view) ?? "parent");
  if (options.repeat != null) return { options: repeated(options, funcName, own && request.tags), task: undefined };
  const label = door.name?.(view) ?? boundedName(BULLMQ, route.destination ?? BULLMQ, funcName);
  const asked = own === undefined ? telemetryAt(door) : telemetryOf(own);
  const telemetry = wishedTelemetry(asked, { label: label === funcName ? undefined : label });
  const settings = { name: funcName, maxAttempts: undefined, relation, route, telemetry };
  return { options: opts, task: { request, settings } };
}

// A schedule repeats these options for ever, so no run may find a trace in them. Tags that the call itself gave are
// kept: their carrier is the same at each call, and so is the schedule.
function repeated(options: Record<string, unknown>, name: string, tags: TaskTags = NO_TAGS): object {
  if (tags === NO_TAGS) return withoutCarrier(options);
  return withFreshCarrier(options, inject({ name, tags, relation: "none", context: ROOT_CONTEXT }));
}

/**
 * Adds a job by `add`, which gets BullMQ's options, within an enqueue span if it becomes a task. Returns what `add`
 * does, as early. `queue` is asked for a job that it may have had already; without one, every job counts as added.
 */
export function addWithin<T>(
  addition: Addition,
  add: (options: unknown) => T | Promise<T>,
  queue?: TargetQueue,
): T | Promise<T> {
  const { options, task } = addition;
  if (task === undefined) return passOn(add(options));
  const given = fieldsOf(options);
  if (queue !== undefined && mayBeThere(given)) return addOnce(given, task, add, queue);
  return enqueue(task.request, task.settings, (origin) => add(withFreshCarrier(given, inject(origin))), TOLD);
}

/**
 * Adds several jobs by one call of `add`, and returns what that does. `join` adds each of them by {@link addWithin}: it
 * gets what `add` will have resolved to, and returns what these calls do.
 */
export function addTogether<T>(join: (added: Promise<unknown>) => unknown[], add: () => T): T {
  let begin: (added: unknown) => void = () => {};
  const begun = new Promise<unknown>((resolve) => {
    begin = resolve;
  });
  const joined = Promise.all(join(begun));
  // every job has joined within the caller's turn, so that what the caller adds next is stored after these
  for (const promise of [begun, joined]) promise.catch(() => {});
  try {
    const added = add();
    begin(added);
    // it is what `add` returned, once every span knows of it
    return isThenable(added) ? (joined.then(() => begun) as T) : added;
  } catch (error) {
    begin(Promise.reject(error));
    throw error;
  }
}

// The mark in the carrier tells the job from one of the same id.
function addOnce<T>(
  options: Record<string, unknown>,
  { request, settings }: NewTask,
  add: (options: unknown) => T | Promise<T>,
  queue: TargetQueue,
): T | Promise<T> {
  const mark = crypto.randomUUID();
  let isStored = true;
  const send = (origin: TaskOrigin): T | Promise<T> => {
    const carrier = inject(origin);
    carrier[ADDED_KEY] = mark;
    // BullMQ is asked at the same time, as a job that the caller adds next must not be stored before this one
    const before = markAt(queue, options.jobId);
    const added = add(withFreshCarrier(options, carrier));
    if (!isThenable(added)) return added;
    return Promise.resolve(added).then(async (job) => {
      // where it is gone by now, either the job before is what was there, or this one has ended already
      const found = (await markAt(queue, fieldsOf(job).id)) ?? (await before);
      isStored = found === undefined || found === mark;
      return job;
    });
  };
  return enqueue(request, settings, send, { ...TOLD, isStored: () => isStored });
}

function passOn<T>(added: T | Promise<T>): T | Promise<T> {
  if (!isThenable(added)) return added;
  const pending = Promise.resolve(added);
  pending.then(TOLD.idOf, () => {});
  return pending;
}

// The id is the queue's, and a mock's may be anything.
function hearOf(job: unknown): string | undefined {
  markStored(job);
  return labelOf(fieldsOf(job).id);
}

function mayBeThere({ jobId, deduplication, debounce }: Record<string, unknown>): boolean {
  return jobId != null || deduplication != null || debounce != null;
}

// Resolves to undefined where the queue has no such job, or BullMQ gives no answer.
async function markAt(queue: TargetQueue, id: unknown): Promise<string | undefined> {
  if (typeof id !== "string" || typeof queue.getJob !== "function") return undefined;
  const job = await quietly("asking BullMQ for a job", async () => await queue.getJob?.(id), undefined);
  if (job === undefined) return undefined;
  const mark = carriedBy(job)[ADDED_KEY];
  return typeof mark === "string" ? mark : UNMARKED;
}
