import type { Span } from "@opentelemetry/api";
import { inject, type TaskOrigin } from "../core/carrier.js";
import { checkFunction, checkObject, checkText } from "../core/checks.js";
import {
  type EnqueueOptions,
  type EnqueueRequest,
  type EnqueueSettings,
  enqueue,
  enqueueTask,
  guarded,
  requestOf,
} from "../core/enqueue.js";
import { describeException } from "../core/exception.js";
import { safely } from "../core/guard.js";
import { splitProducerOptions } from "../core/info-keys.js";
import { measureSent } from "../core/metrics.js";
import { ATTR_MESSAGING_MESSAGE_ID, SCOPE_NAME } from "../core/semconv.js";
import type { Telemetry } from "../core/telemetry.js";
import { isThenable } from "../core/thenable.js";
import type { Carrier, ProducerOptions, TaskTags } from "../core/types.js";
import { fieldsOf, wireCount } from "../core/wire.js";
import { wishedTelemetry } from "../core/wished-telemetry.js";
import { isCarried, withCarrier } from "../engines/pg-boss/carriers.js";
import { isOwnCall, ownCall, PG_BOSS, routeOf } from "../engines/pg-boss/library.js";
import { type Door, isTaskName, type JobView, telemetryAt } from "./door.js";
import { type Column, columnOf } from "./pg-boss-column.js";

/** The key of a carrier that several jobs share, and the number of these. */
const SHARED_KEY = `${SCOPE_NAME}-jobs`;

/** The part of a `PgBoss` instance that sends jobs. */
export interface JobSender {
  send(name: string, data: unknown, options: object): Promise<string | null>;
}

/** What pg-boss's own `send` takes as its options. */
export type SendOptionsOf<B> = B extends { send: (name: string, data: never, options: infer O) => unknown }
  ? NonNullable<O>
  : object;

/** What `sendJob` takes besides them. */
export type SendJobOptions = ProducerOptions;

/** A job about to be made, as its producer was given it. */
export interface NewJob {
  readonly name: unknown;
  readonly data: unknown;
  /** pg-boss's own; the id may be among them. */
  readonly options: unknown;
  /** It is known by a key, and takes no id. Default false. */
  readonly isKeyed?: boolean;
}

/** How a task is enqueued. */
interface NewTask {
  readonly request: EnqueueRequest;
  readonly settings: EnqueueSettings;
}

/** What is heard of a job that was sent, or updated instead. */
const SENT: EnqueueOptions<unknown> = guarded({
  idOf: (result) => textOf(result) ?? textOf(listOf(fieldsOf(result).jobs)[0]),
  isStored: (result) => result !== null && fieldsOf(result).inserted !== 0,
});

/**
 * `boss.send` with tags: it runs within an enqueue span, and the job gets a carrier. That goes into pg-boss's own trace
 * column where `withTasks` or `TaskInstrumentation` has made the instance; else it is one key more of the job's data,
 * which `workTask` takes out again. Resolves to what `send` did: the job's id, or `null` where pg-boss stored no job
 * because of a singleton or throttle rule, which is not counted. Works without an SDK.
 *
 * @throws TaskConfigError for an illegal tag or option; nothing is sent then.
 */
export async function sendJob<B extends JobSender>(
  boss: B,
  queue: string,
  data?: unknown,
  // none of pg-boss's options has to be given
  options: SendOptionsOf<B> & SendJobOptions = {} as SendOptionsOf<B>,
): Promise<string | null> {
  checkObject("sendJob(): its first argument", boss);
  checkFunction("send of the PgBoss", boss.send);
  checkText("queue", queue);
  checkObject("sendJob(): its options", options);
  const [own, sendOptions] = splitProducerOptions(options);
  // pg-boss's own option of this name, which is checked as any task's id
  const taskId = fieldsOf(sendOptions).id as string | undefined;
  const column = columnOf(boss);
  const send = (carrier: Carrier, id: string): Promise<string | null> => {
    const given = ownCall({ ...sendOptions, id });
    if (column === undefined) return boss.send(queue, withCarrier(data, carrier), given);
    return column.during({ carrier }, () => boss.send(queue, data, given));
  };
  return await enqueueTask({ ...own, ...routeOf(queue), funcName: queue, taskId }, send, {
    isStored: (id) => id !== null,
  });
}

/** Does for `send` and its like what `door` says; `send` gets the job to call it with, and what it returns is returned. */
export function sendThrough<T>(door: Door, boss: object, job: NewJob, send: (job: NewJob) => T): T {
  if (isOwnCall(job.options)) return send(job);
  const column = columnOf(boss);
  const task = isLeft(door, job) ? undefined : taskOf(door, [job]);
  if (task === undefined) return silently(column, () => send(job));
  const store = (origin: TaskOrigin): T => {
    if (column !== undefined) return column.during({ carrier: inject(origin) }, () => send(job));
    return send(door.carrierIn === "data" ? carriedIn(job, origin) : job);
  };
  // it is what `send` returned, or a promise of the same
  return enqueue<unknown>(task.request, task.settings, store, SENT) as T;
}

/**
 * Does the same for a call that makes many jobs, which is one enqueue span. `first` finds the first job's id in what
 * `add` has resolved to.
 */
export function addThrough<T>(
  door: Door,
  boss: object,
  jobs: readonly NewJob[],
  add: (jobs: readonly NewJob[]) => T,
  first: (result: unknown) => unknown,
): T {
  const column = columnOf(boss);
  const kept = jobs.filter((job) => !isLeft(door, job));
  const task = taskOf(door, kept);
  if (task === undefined) return silently(column, () => add(jobs));
  // the span counts the first
  const count = (errorType?: string): void => {
    for (const job of kept.slice(1)) countSent(door, job, errorType);
  };
  const store = (origin: TaskOrigin): T => {
    if (column === undefined) return add(door.carrierIn === "data" ? carriedInAll(jobs, kept, origin) : jobs);
    const shared = kept.length > 1 ? { [SHARED_KEY]: String(kept.length) } : {};
    return column.during({ carrier: { ...inject(origin), ...shared } }, () => add(jobs));
  };
  const told = guarded<unknown>({
    idOf: (result) => textOf(first(result)),
    isStored: () => {
      count();
      return true;
    },
  });
  const stored = enqueue<unknown>(task.request, task.settings, store, told);
  if (isThenable(stored)) stored.then(undefined, (error: unknown) => count(describeException(error).type));
  // it is what `add` returned, or a promise of the same
  return stored as T;
}

// All of them took one call, which is measured once.
function countSent(door: Door, { name: given, data, options }: NewJob, errorType: string | undefined): void {
  const name = String(given);
  const instruments = labelledAt(door, viewOf(name, data, options)).instruments();
  measureSent(instruments, { name, route: routeOf(name), sentAt: undefined, isNew: true, errorType });
}

function labelledAt(door: Door, view: JobView): Telemetry {
  return wishedTelemetry(telemetryAt(door), { label: door.name?.(view) });
}

/**
 * Does the same for `publish`, where a job is sent to each queue that has subscribed: each has an enqueue span. An
 * instance without a column does not say which queues these are, so that its jobs are sent as before.
 */
export function publishThrough<T>(door: Door, boss: object, job: Omit<NewJob, "name">, publish: () => T): T {
  const column = columnOf(boss);
  if (column === undefined) return publish();
  const sendTo = (queue: string, start: () => Span, keep: (carrier: Carrier) => void): Span =>
    safely("enqueueing a published job", () => startSend(door, { ...job, name: queue }, start, keep)) ?? start();
  return column.during({ sendTo }, publish);
}

function startSend(door: Door, job: NewJob, start: () => Span, keep: (carrier: Carrier) => void): Span | undefined {
  const task = isLeft(door, job) ? undefined : taskOf(door, [job]);
  if (task === undefined) return undefined;
  const started: { span?: Span } = {};
  const store = (origin: TaskOrigin): Promise<unknown> => {
    keep(inject(origin));
    return new Promise((resolve, reject) => {
      started.span = heard(start(), resolve, reject);
    });
  };
  // pg-boss tells its caller what became of the job
  Promise.resolve(enqueue<unknown>(task.request, task.settings, store, SENT)).catch(() => {});
  return started.span;
}

// pg-boss's span of a job that it sends hears first the job's id, or the error, and then that this was all.
function heard(span: Span, resolve: (id: string | null) => void, reject: (error: unknown) => void): Span {
  let id: string | null = null;
  let failure: { readonly error: unknown } | undefined;
  const hear: Record<string, (...args: unknown[]) => void> = {
    setAttribute(key, value) {
      if (key === ATTR_MESSAGING_MESSAGE_ID) id = String(value);
    },
    recordException(error) {
      failure ??= { error };
    },
    setStatus(status) {
      failure ??= { error: fieldsOf(status).message };
    },
    end() {
      if (failure === undefined) resolve(id);
      else reject(failure.error);
    },
  };
  return new Proxy(span, {
    get(_, key) {
      const value: unknown = Reflect.get(span, key);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        const answer: unknown = Reflect.apply(value, span, args);
        hear[String(key)]?.(...args);
        return answer;
      };
    },
  });
}

/** Whether a carrier stands for several jobs, so that it cannot have the tags of each. */
export function isShared(carrier: Carrier | undefined): boolean {
  return carrier !== undefined && SHARED_KEY in carrier;
}

function silently<T>(column: Column | undefined, call: () => T): T {
  return column === undefined ? call() : column.during({}, call);
}

// The task that jobs are enqueued as, by the name of the first; `undefined` where there are none.
function taskOf(door: Door, jobs: readonly NewJob[]): NewTask | undefined {
  const [first] = jobs;
  if (first === undefined) return undefined;
  const { name, data, options } = first;
  const view = viewOf(String(name), data, options);
  const retryLimit = wireCount(fieldsOf(options).retryLimit);
  return {
    request: requestOf({ taskId: view.id, tags: commonTags(door, jobs) }),
    settings: {
      name: view.name,
      maxAttempts: retryLimit === undefined ? undefined : retryLimit + 1,
      relation: door.relation?.(view) ?? "parent",
      route: routeOf(view.name),
      telemetry: labelledAt(door, view),
    },
  };
}

// It has its own carrier, or the door's owner wants no task of it, or its name can be no task's.
function isLeft(door: Door, { name, data, options }: NewJob): boolean {
  if (door.producer === false || !isTaskName(name)) return true;
  const view = viewOf(name, data, options);
  return (view.id !== undefined && isCarried(data, view.id)) || door.ignore?.(view) === true;
}

function viewOf(name: string, data: unknown, options: unknown): JobView {
  const { id } = fieldsOf(options);
  return { library: PG_BOSS, queue: name, name, id: isTaskName(id) ? id : undefined, data, attempt: 0 };
}

// Of jobs that share a carrier, the tags that they all have.
function commonTags(door: Door, jobs: readonly NewJob[]): TaskTags | undefined {
  const { tags } = door;
  if (tags === undefined) return undefined;
  const [first = {}, ...others] = jobs.map(
    ({ name, data, options }) => tags(viewOf(String(name), data, options)) ?? {},
  );
  const common = Object.entries(first).filter(([key, value]) => others.every((other) => other[key] === value));
  return Object.fromEntries(common);
}

// The carrier names the job, by which whoever reads it knows it for the job's own; so the job gets an id.
function carriedIn(job: NewJob, origin: TaskOrigin): NewJob {
  const { name, data, options, isKeyed = false } = job;
  if (isKeyed || typeof data === "function") return job;
  const id = viewOf(String(name), data, options).id ?? crypto.randomUUID();
  return { name, data: withCarrier(data, inject({ ...origin, id })), options: { ...fieldsOf(options), id } };
}

function carriedInAll(jobs: readonly NewJob[], kept: readonly NewJob[], origin: TaskOrigin): NewJob[] {
  const carried = new Set(kept);
  return jobs.map((job) => (carried.has(job) ? carriedIn(job, origin) : job));
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
