import { inject, type TaskOrigin } from "../core/carrier.js";
import { checkFunction, checkKeys, checkRelation, checkText, namesOf } from "../core/checks.js";
import { type EnqueueRequest, type EnqueueSettings, enqueue, guarded, requestOf } from "../core/enqueue.js";
import { TaskConfigError } from "../core/errors.js";
import { quietly } from "../core/guard.js";
import { type HandledJob, handlerRunner, type Verdict } from "../core/handler.js";
import { splitProducerOptions, TELEMETRY_KEYS } from "../core/info-keys.js";
import { telemetryOf } from "../core/telemetry.js";
import type { ProducerOptions, TaskTelemetryOptions } from "../core/types.js";
import {
  ADDED_KEY,
  attemptOf,
  type BullmqJob,
  carrierIn,
  dueAtOf,
  isRedelivered,
  labelOf,
  maxAttemptsOf,
  routeOf,
  UNNAMED,
  withCarrier,
} from "../engines/bullmq/stored-task.js";
import { type JudgedJob, toldOf, verdictOf } from "./bullmq-verdict.js";

/** Stands for the mark of a job that `addJob` did not add, which has none. */
const UNMARKED = "";
const CANCELLED = "the worker cancelled the job";

const KEYS = namesOf<BullmqTaskOptions>({ ...TELEMETRY_KEYS, name: true });

/** What a job can be told besides BullMQ's own options. */
export type BullmqJobOptions = ProducerOptions;

/** The part of a BullMQ queue that is used. */
export interface BullmqJobQueue {
  readonly name: string;
  add(name: string, data: unknown, options?: object): Promise<BullmqAddedJob>;
  addBulk(jobs: BullmqBulkItem[]): Promise<readonly BullmqAddedJob[]>;
  /** Asked after a job was added that BullMQ may have had already; without it, every job counts as added. */
  getJob?(id: string): Promise<BullmqJob | undefined>;
  /** The queue's own keys by their names, which no job may have for an id. */
  readonly keys?: object | undefined;
}

/** The part that is read of a job which a queue has just added. */
export interface BullmqAddedJob {
  readonly id?: string | undefined;
}

/** A job as `addBulk` takes it. */
export interface BullmqBulkItem {
  name: string;
  data: unknown;
  opts?: object;
}

type WithTags<Options> = NonNullable<Options> & BullmqJobOptions;
type BulkItem<Q extends BullmqJobQueue> = Parameters<Q["addBulk"]>[0][number];

/** A job as this queue's `addBulk` takes it, whose options may have {@link BullmqJobOptions} as well. */
export type BullmqBulkJob<Q extends BullmqJobQueue> = Omit<BulkItem<Q>, "opts"> & {
  readonly opts?: WithTags<BulkItem<Q>["opts"]> | undefined;
};

/** What all jobs of a processor have in common. */
export interface BullmqTaskOptions extends TaskTelemetryOptions {
  /** The task's name. Default: each job's own. An empty one is a `TaskConfigError`. */
  readonly name?: string | undefined;
}

/** A job as a worker hands it to a processor. */
interface ProcessedJob extends JudgedJob {
  readonly queueName?: string | undefined;
}

/** What BullMQ calls a processor with besides the job. */
type BullmqRest = [token?: string, signal?: AbortSignal];

type Processor = (this: unknown, job: ProcessedJob, token?: string, signal?: AbortSignal) => unknown;

/** A job about to be added. */
interface Addition {
  /** BullMQ's own options, which the carrier will join. */
  readonly options: Record<string, unknown>;
  readonly request: EnqueueRequest;
  readonly settings: EnqueueSettings;
  /** Tells the job from one of the same id that is there already; `undefined` where there can be none. */
  readonly mark: string | undefined;
}

/**
 * `queue.add` with tags: it runs within an enqueue span, and the job gets a carrier among its options, while its data
 * stays as it is. Resolves to the job as early as `queue.add` does, and rejects with the same errors. `task.id` is the
 * job's id. Where BullMQ may have had the job already, by its id or its deduplication, the queue is asked, and a job
 * that was not added is not counted. Works without an SDK.
 *
 * @throws TaskConfigError for an illegal tag or option, or for the id of one of BullMQ's keys; nothing was added.
 */
export function addJob<Q extends BullmqJobQueue>(
  queue: Q,
  name: Parameters<Q["add"]>[0],
  data: Parameters<Q["add"]>[1],
  options?: WithTags<Parameters<Q["add"]>[2]>,
): Promise<Awaited<ReturnType<Q["add"]>>> {
  const added = promiseOf(() => {
    const addition = additionOf(queue, name, options);
    return enqueueOne(queue, addition, (own) => queue.add(name, data, own));
  });
  // it resolves to what this very queue's `add` did
  return added as Promise<Awaited<ReturnType<Q["add"]>>>;
}

/**
 * `queue.addBulk` with tags: one call, with an enqueue span and a carrier for each job. Resolves to the jobs; where it
 * rejects, all these spans have failed.
 *
 * @throws TaskConfigError for an illegal tag or option of any job; nothing was added.
 */
export async function addJobs<Q extends BullmqJobQueue>(
  queue: Q,
  jobs: readonly BullmqBulkJob<Q>[],
): Promise<Awaited<ReturnType<Q["addBulk"]>>> {
  const additions = jobs.map((job) => ({ job, addition: additionOf(queue, job.name, job.opts) }));
  const bulk: BullmqBulkItem[] = [];
  let begin: (stored: Promise<readonly BullmqAddedJob[]>) => void = () => {};
  const stored = new Promise<readonly BullmqAddedJob[]>((resolve) => {
    begin = resolve;
  });
  const adding = additions.map(({ job, addition }, index) =>
    enqueueOne(queue, addition, async (own) => {
      bulk[index] = { ...job, opts: own };
      return (await stored)[index] ?? {};
    }),
  );
  // every job has joined within the caller's turn, so that what the caller adds next is stored after these
  begin(promiseOf(() => queue.addBulk(bulk)));
  await Promise.all(adding);
  // it is what this very queue's `addBulk` resolved to
  return (await stored) as Awaited<ReturnType<Q["addBulk"]>>;
}

/**
 * Wraps a processor, so that each job runs as an attempt: in its task's context, within a span that gets the outcome.
 * The wrapped one returns what the processor does, and throws the very error, unless BullMQ's store could not keep it.
 * It takes as many parameters, by which BullMQ decides whether to pass a signal; that one aborts the task's signal as
 * well, and how the job then ends is up to the processor. A `NonRetryableError` fails the job for good. Jobs of any
 * producer are welcome: without a carrier they have no tags.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function withTask<J extends BullmqJob, R, A extends BullmqRest = [token?: string]>(
  processor: (job: J, ...rest: A) => R,
  options: BullmqTaskOptions = {},
): (job: J, ...rest: A) => R {
  checkFunction("withTask(): its processor", processor);
  checkKeys("withTask()", options, KEYS);
  const { name, ...telemetry } = options;
  if (name !== undefined) checkText("name", name);
  // BullMQ calls it with a job, a token and perhaps a signal, whatever it declares, as a method of the worker
  const process = processor as unknown as Processor;
  const runHandler = handlerRunner(process.name, telemetry);
  const run: Processor = async function (job, token, signal) {
    let told: unknown;
    const foresee = (thrown: unknown): Promise<Verdict> => {
      told = toldOf(job, thrown);
      return verdictOf(job, told);
    };
    const stop = signal && { signal, message: CANCELLED };
    const call = (): unknown => process.call(this, job, token, signal);
    const { end } = await runHandler(attemptInfo(job, name), call, { stop, foresee });
    if (end.outcome === "success") return end.value;
    throw told ?? end.error;
  };
  Object.defineProperty(run, "length", { value: process.length });
  // it passes on what `processor` is called with, and what that returns
  return run as unknown as typeof processor;
}

function enqueueOne(
  queue: BullmqJobQueue,
  { options, request, settings, mark }: Addition,
  add: (options: object) => Promise<BullmqAddedJob>,
): BullmqAddedJob | Promise<BullmqAddedJob> {
  let isStored = true;
  const send = (origin: TaskOrigin): Promise<BullmqAddedJob> => {
    const carrier = inject(origin);
    if (mark === undefined) return add(withCarrier(options, carrier));
    // BullMQ is asked at the same time, as a job that the caller adds next must not be stored before this one
    const before = markOf(queue, labelOf(options.jobId));
    const added = add(withCarrier(options, { ...carrier, [ADDED_KEY]: mark }));
    return added.then(async (job) => {
      // where it is gone by now, either the job before is what was there, or this one has ended already
      const found = (await markOf(queue, job.id)) ?? (await before);
      isStored = found === undefined || found === mark;
      return job;
    });
  };
  return enqueue(request, settings, send, guarded({ idOf: ({ id }) => id, isStored: () => isStored }));
}

// Resolves to undefined where the queue has no such job, or BullMQ gives no answer.
async function markOf(queue: BullmqJobQueue, id: string | undefined): Promise<string | undefined> {
  if (id === undefined || queue.getJob === undefined) return undefined;
  const job = await quietly("asking BullMQ for a job", async () => await queue.getJob?.(id), undefined);
  return job === undefined ? undefined : (carrierIn(job)?.[ADDED_KEY] ?? UNMARKED);
}

// The very promise that `call` returns: an async function would settle later.
function promiseOf<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return Promise.resolve(call());
  } catch (error) {
    return Promise.reject(error);
  }
}

function additionOf(queue: BullmqJobQueue, name: string, given: object = {}): Addition {
  // the caller's own type says what is among them; all that is used of it is checked
  const [own, options] = splitProducerOptions(given as BullmqJobOptions & Record<string, unknown>);
  const { jobId, deduplication, debounce } = options;
  checkJobId(queue, jobId);
  return {
    options,
    request: requestOf({ taskId: labelOf(jobId), tags: own.tags }),
    settings: {
      name: labelOf(name) ?? UNNAMED,
      maxAttempts: undefined,
      relation: checkRelation(own.relation ?? "parent"),
      route: routeOf(queue.name),
      telemetry: telemetryOf(own),
    },
    mark: [jobId, deduplication, debounce].every((one) => one == null) ? undefined : crypto.randomUUID(),
  };
}

// BullMQ would put such a job in the place of its own key, and no job of the queue would run any more.
function checkJobId({ keys = {} }: BullmqJobQueue, jobId: unknown): void {
  if (typeof jobId !== "string" || !Object.hasOwn(keys, jobId)) return;
  throw new TaskConfigError("jobId: expected an id that is no key of BullMQ's own, such as wait, active or meta");
}

function attemptInfo(job: ProcessedJob, name: string | undefined): HandledJob {
  const { engine, system, destination } = routeOf(job.queueName);
  return {
    engine,
    system,
    destination,
    taskId: labelOf(job.id),
    funcName: name ?? labelOf(job.name) ?? UNNAMED,
    carrier: carrierIn(job),
    attempt: attemptOf(job),
    maxAttempts: maxAttemptsOf(job),
    dueAt: dueAtOf(job),
    redelivered: isRedelivered(job),
  };
}
