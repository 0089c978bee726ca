import { ROOT_CONTEXT, type SpanContext } from "@opentelemetry/api";
import { addressee, inject } from "../../core/carrier.js";
import { quietly } from "../../core/guard.js";
import { NO_TAGS } from "../../core/tags.js";
import { fieldsOf, wireCount } from "../../core/wire.js";
import type { Delivery, EngineHost, TaskMessage } from "../engine.js";
import { argsOf, ENVELOPE_KEY, type NextAttempt, nextAttempt, readNextAttempt, seal } from "../envelope.js";
import { Carriers, takeApart } from "./carriers.js";
import { type BriefJob, dueTime, type FetchedJob, secondsUntil } from "./library.js";
import type { PgBossEngineSettings } from "./options.js";

/** More claims than any task has: the host says how many runs may be lost, and pg-boss fails a job of ours for none. */
export const ENDLESS = 1_000_000_000;
/** pg-boss waits this long before a lost job starts again. */
const RETRY_DELAY_SECONDS = 1;
/** Ten years: pg-boss deletes what waited for longer than this, and tells no one. */
const RETENTION_SECONDS = 315_360_000;

/** A job as pg-boss inserts it. */
export interface NewJob {
  readonly id: string;
  readonly [field: string]: unknown;
}

/** How long an attempt may take, or give no sign of life. */
type Limits = Pick<PgBossEngineSettings, "expireInSeconds" | "heartbeatSeconds">;

/** How far a task that was given back has come: kept in the job's data, and in its output until the data is written. */
export interface Progress {
  /** The job's `retryCount` when it was settled. The next claim has one more; what it has beyond that, crashes took. */
  readonly claims: number;
  /** `undefined` as long as the first attempt has not failed. */
  readonly next: NextAttempt | undefined;
  /** Runs of the next attempt that were lost before it was given back. */
  readonly lost?: number | undefined;
  /** It has given up, and only pg-boss does not know yet. */
  readonly ended?: boolean | undefined;
}

/** The task to run, as a job's data names it. */
interface Call {
  /** `undefined` where the data names no task. */
  readonly name: string | undefined;
  /** `undefined` where a task of ours is damaged. */
  readonly args: readonly unknown[] | undefined;
  /** `undefined` where another producer stored the task. */
  readonly carrier: unknown;
  /** The data is as an engine writes it. */
  readonly sealed: boolean;
}

/** A fetched job, read. */
export interface StoredTask extends Call {
  readonly job: FetchedJob;
  readonly taskId: string;
  readonly progress: Progress | undefined;
  /** Storing the last attempt's end was cut short, and the next is not due: this claim is there to finish that. */
  readonly unsettled: boolean;
}

/** The circumstances under which a job is read. */
interface ReadingRules {
  /** The queue's name, where a task here has it too: data that another producer stored is that task's one argument. */
  readonly ownTask: string | undefined;
  /** The data is believed where it names a task. */
  readonly trusted: boolean;
}

/** The job of a task that is added; `{ name, args }` as its data is enough for a producer without this library. */
export function newJob(message: TaskMessage, { expireInSeconds, heartbeatSeconds }: Limits): NewJob {
  const { origin, args, fresh } = message;
  const { id, name, enqueuedAt = 0, dueAt = enqueuedAt } = origin;
  return {
    // pg-boss takes UUIDs only, and keeps the job of a task that has ended
    id: fresh ? id : crypto.randomUUID(),
    data: { name, ...seal({ origin, args }) },
    ...(dueAt > enqueuedAt && { startAfter: secondsUntil(dueAt) }),
    singletonKey: id,
    // as the column is called: older versions drop the `group` of what is inserted
    groupId: name,
    retryLimit: ENDLESS,
    retryDelay: RETRY_DELAY_SECONDS,
    retryBackoff: false,
    retentionSeconds: RETENTION_SECONDS,
    expireInSeconds,
    heartbeatSeconds,
  };
}

/** Whether nobody has claimed this job before, and an engine has stored it under its task's id. Never throws. */
export function isNew({ id, data, retryCount, groupId }: BriefJob): boolean {
  const { name, args, carrier, progress } = fieldsOf(data);
  // only an engine's jobs have all of these
  const isOwn = typeof groupId === "string" && groupId === name && Array.isArray(args) && progress === undefined;
  return isOwn && retryCount === 0 && addressee(carrier).id === id;
}

/** The carrier in a job's data, wherever it is; `undefined` where there is none. */
function carrierIn(data: unknown): unknown {
  return takeApart(data)?.carrier ?? fieldsOf(data).carrier;
}

/** Reads the jobs of an engine's queue. */
export class Reader {
  readonly #queue: string;
  readonly #carriers: Carriers;
  #ownTask: string | undefined;

  constructor({ boss, queue }: Pick<PgBossEngineSettings, "boss" | "queue">) {
    this.#queue = queue;
    this.#carriers = new Carriers(boss, queue);
  }

  /** Says which tasks are registered here. */
  serve(names: readonly string[]): void {
    this.#ownTask = names.find((name) => name === this.#queue);
  }

  /** Whoever may store in a queue of tasks says what runs. In a queue that was one of jobs, data may be a stranger's. */
  async read(job: FetchedJob): Promise<StoredTask> {
    const ownTask = this.#ownTask;
    const trusted = ownTask === undefined || (await this.#bearsOwnCarrier(job));
    return readJob(job, { ownTask, trusted });
  }

  /** Reads a job that {@link isNew}, without its metadata: somebody may have changed its limit while it waited. */
  readNew(job: BriefJob): StoredTask {
    const unknown = { retryLimit: undefined, startAfter: undefined };
    const untouched = { state: "active", output: null, sourceRootId: null };
    const whole = { ...job, ...unknown, ...untouched, singletonKey: job.id };
    return readJob(whole, { ownTask: this.#ownTask, trusted: true });
  }

  async #bearsOwnCarrier(job: FetchedJob): Promise<boolean> {
    const carrier = carrierIn(job.data);
    const { id } = addressee(carrier);
    if (id !== undefined && id === job.singletonKey) return true;
    return await quietly("looking for schedules", () => this.#carriers.areOf(job, carrier), false);
  }
}

/** Reads a job whose data and output may be anything. */
function readJob(job: FetchedJob, rules: ReadingRules): StoredTask {
  const call = callOf(job.data, rules);
  const settled = call.sealed ? readProgress(fieldsOf(job.data).progress) : undefined;
  const left = progressIn(job.output);
  const newer = left !== undefined && left.claims > (settled?.claims ?? -1);
  // its data is written before its output says nothing of that any more
  const ended = left?.ended === true;
  return {
    ...call,
    job,
    taskId: job.singletonKey ?? job.id,
    progress: newer || ended ? left : (settled ?? adapterProgress(job)),
    unsettled: ended || (newer && (left.next?.dueAt ?? 0) > Date.now()),
  };
}

/**
 * How many runs of the task's next attempt were lost with their workers: its claims but for those that ended. What
 * pg-boss says of a job whose data is another producer's, and that was given back, is overwritten by the next loss: of
 * such a job, that at least one was lost.
 */
export function lostRuns({ job, progress, sealed }: StoredTask): number {
  if (progress !== undefined) return (progress.lost ?? 0) + Math.max(0, job.retryCount - progress.claims - 1);
  return sealed ? job.retryCount : Math.min(1, job.retryCount);
}

/** The task's next attempt, for the host. */
export function deliveryOf(task: StoredTask, host: EngineHost): Delivery {
  const { job, taskId, name = "", args, carrier, progress } = task;
  const origin = host.receive({ id: taskId, name, carrier });
  const { attempt = 0, dueAt = origin.dueAt ?? dueTime(job.startAfter), previous } = progress?.next ?? {};
  const lost = lostRuns(task);
  return { origin, args, attempt, dueAt, previous, redelivered: lost > 0, lost };
}

/** The output of a run that failed through the adapter, with the part that the next run has to know. */
export function outputWithNext(output: object, job: Pick<FetchedJob, "retryCount">, span: SpanContext): object {
  return { ...output, [ENVELOPE_KEY]: nextAttempt(job.retryCount, { delay: 0, span }) };
}

/** Reads what {@link outputWithNext} made, from an output that may be anything. Never throws. */
export function nextIn(output: unknown): NextAttempt | undefined {
  return readNextAttempt(fieldsOf(output)[ENVELOPE_KEY]);
}

/** How far a task had come when it was settled last, as its output says; `undefined` where it does not. Never throws. */
export function progressIn(output: unknown): Progress | undefined {
  return readProgress(fieldsOf(output)[ENVELOPE_KEY]);
}

/** The data of a job that is given back; `undefined` where it stays as another producer has stored it. */
export function withProgress(task: StoredTask, progress: Progress): object | undefined {
  const { job, name = "", args, carrier, taskId, sealed } = task;
  if (sealed) return { ...fieldsOf(job.data), progress };
  if (progress.next === undefined) return undefined;
  return { name, args, carrier: carrier ?? markOf(taskId, name), progress };
}

// The process that runs a task decides what its name is: a queue with a task of its own runs no other for strangers.
function callOf(data: unknown, { ownTask, trusted }: ReadingRules): Call {
  const carried = trusted ? takeApart(data) : undefined;
  if (carried !== undefined) return carriedCall(carried.data, carried.carrier, ownTask);
  const { name, args, carrier } = fieldsOf(data);
  const sealed = trusted && (args !== undefined || carrier !== undefined);
  if (sealed) return { name: textOf(name), args: argsOf(data), carrier, sealed };
  return { name: ownTask ?? textOf(name), args: [data], carrier: undefined, sealed };
}

// The adapter's jobs are named after the queue. Any other carrier may stand beside a call of a task.
function carriedCall(data: unknown, carrier: unknown, ownTask: string | undefined): Call {
  const { name } = addressee(carrier);
  const inner = fieldsOf(data);
  const isCall =
    Array.isArray(inner.args) && textOf(inner.name) !== undefined && (name === undefined || name !== ownTask);
  const args = isCall ? argsOf(data) : [data];
  return { name: isCall ? textOf(inner.name) : name, args, carrier, sealed: false };
}

// A carrier with the task's id: by that, the next process that reads the job knows that the data is believed.
function markOf(id: string, name: string): object {
  const unknown = { maxAttempts: undefined, retries: undefined, enqueuedAt: undefined, dueAt: undefined };
  return inject({
    id,
    name,
    tags: NO_TAGS,
    relation: "parent",
    parentId: undefined,
    context: ROOT_CONTEXT,
    ...unknown,
  });
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function readProgress(stored: unknown): Progress | undefined {
  const { claims, next, lost, ended } = fieldsOf(stored);
  const settled = wireCount(claims);
  if (settled === undefined) return undefined;
  return { claims: settled, next: readNextAttempt(next), lost: wireCount(lost), ended: ended === true };
}

// After a run that failed through the adapter, the next one is due when pg-boss says.
function adapterProgress({ output, startAfter }: FetchedJob): Progress | undefined {
  const next = nextIn(output);
  return next && { claims: next.attempt - 1, next: { ...next, dueAt: dueTime(startAfter) ?? next.dueAt } };
}
