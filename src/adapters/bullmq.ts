import { attemptRunner } from "../core/attempt.js";
import { inject, type TaskOrigin } from "../core/carrier.js";
import { checkFunction, checkKeys, checkRelation, checkText, namesOf } from "../core/checks.js";
import { getTaskContext } from "../core/context.js";
import { type EnqueueRequest, type EnqueueSettings, enqueue, requestOf } from "../core/enqueue.js";
import { TaskConfigError } from "../core/errors.js";
import { quietly } from "../core/guard.js";
import { TELEMETRY_KEYS } from "../core/info-keys.js";
import { passOnAbort } from "../core/pass-on-abort.js";
import { telemetryOf } from "../core/telemetry.js";
import type { AttemptInfo, Carrier, ProducerOptions, TaskTelemetryOptions } from "../core/types.js";
import {
  ADDED_KEY,
  attemptOf,
  BULLMQ,
  type BullmqJob,
  dueAtOf,
  isRedelivered,
  labelOf,
  maxAttemptsOf,
  routeOf,
  UNNAMED,
} from "../engines/bullmq/job.js";
import { ENVELOPE_KEY } from "../engines/envelope.js";
import { type Failure, failureOf, type JudgedJob, type Verdict } from "./bullmq-verdict.js";

/** For the mark of a job that was not added here. */
const UNMARKED = "";

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
  /** By their names, the keys of the queue itself, which no job may have for an id. */
  readonly keys?: object | undefined;
}

export interface BullmqAddedJob {
  readonly id?: string | undefined;
}

export interface BullmqBulkItem {
  name: string;
  data: unknown;
  opts?: object;
}

type WithTags<Options> = NonNullable<Options> & BullmqJobOptions;
type BulkItem<Q extends BullmqJobQueue> = Parameters<Q["addBulk"]>[0][number];

/** What a queue's `addBulk` takes of one job, and tags. */
export type BullmqBulkJob<Q extends BullmqJobQueue> = Omit<BulkItem<Q>, "opts"> & {
  readonly opts?: WithTags<BulkItem<Q>["opts"]> | undefined;
};

export interface BullmqTaskOptions extends TaskTelemetryOptions {
  /** The task's name. Default: each job's own. */
  readonly name?: string | undefined;
}

interface TaskJob extends JudgedJob {
  readonly queueName?: string | undefined;
}

/** What BullMQ calls a processor with besides the job. */
type BullmqRest = [token?: string, signal?: AbortSignal];

type Processor = (this: unknown, job: TaskJob, token?: string, signal?: AbortSignal) => unknown;

/** A job about to be added: for BullMQ, and for its enqueue span. */
interface Addition {
  /** BullMQ's own; the carrier joins them. */
  readonly options: Record<string, unknown>;
  readonly request: EnqueueRequest;
  readonly settings: EnqueueSettings;
  /** Tells the job from another that is there already, where there may be one. */
  readonly mark: string | undefined;
}

/**
 * `queue.add` with tags: within an enqueue span, the carrier in an option of the job, the data as it is. Resolves
 * to the job, as early, and rejects as `queue.add` does. `task.id` is the job's id. Where BullMQ may have had the job
 * already, by its id or its deduplication, it is asked, and a job that was not added is not counted.
 *
 * @throws TaskConfigError for an illegal tag or option, and for the id of a key of BullMQ's; nothing was added.
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
  // what this very queue's add resolved to
  return added as Promise<Awaited<ReturnType<Q["add"]>>>;
}

/**
 * `queue.addBulk` with tags: one call, an enqueue span and a carrier for each job. When it rejects, all these
 * spans have failed.
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
  // every job has joined, in the turn of the call itself: what is added after it comes after it
  begin(promiseOf(() => queue.addBulk(bulk)));
  await Promise.all(adding);
  // what this very queue's addBulk resolved to
  return (await stored) as Awaited<ReturnType<Q["addBulk"]>>;
}

/**
 * Puts what `enqueueTask` hands to `send` into a job's options, for schedulers and flows. A scheduler repeats its
 * options for ever: enqueue with the relation `"link"`, or all its jobs end up in one trace.
 */
export function withCarrier<O extends object>(options: O, carrier: Carrier): O {
  return { ...options, [ENVELOPE_KEY]: carrier };
}

function enqueueOne(
  queue: BullmqJobQueue,
  { options, request, settings, mark }: Addition,
  add: (options: object) => Promise<BullmqAddedJob>,
): BullmqAddedJob | Promise<BullmqAddedJob> {
  let isStored = true;
  const send = (origin: TaskOrigin): Promise<BullmqAddedJob> => {
    const carrier = inject(origin);
    if (mark === undefined) return add({ ...options, [ENVELOPE_KEY]: carrier });
    // asked at the same time, and not waited for: what is added later must not come sooner
    const before = markOf(queue, labelOf(options.jobId));
    const added = add({ ...options, [ENVELOPE_KEY]: { ...carrier, [ADDED_KEY]: mark } });
    return added.then(async (job) => {
      // one that has ended, and is gone, was there before, or is this one
      const found = (await markOf(queue, job.id)) ?? (await before);
      isStored = found === undefined || found === mark;
      return job;
    });
  };
  return enqueue(request, settings, send, { idOf: ({ id }) => id, isStored: () => isStored });
}

// The mark of a job in the queue, `undefined` where there is no such job, or BullMQ gives no answer.
async function markOf(queue: BullmqJobQueue, id: string | undefined): Promise<string | undefined> {
  if (id === undefined || queue.getJob === undefined) return undefined;
  const job = await quietly("asking BullMQ for a job", async () => await queue.getJob?.(id), undefined);
  return job === undefined ? undefined : (job.opts[ENVELOPE_KEY]?.[ADDED_KEY] ?? UNMARKED);
}

function promiseOf<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return Promise.resolve(call());
  } catch (error) {
    return Promise.reject(error);
  }
}

function additionOf(queue: BullmqJobQueue, name: string, given: object = {}): Addition {
  const { tags, relation, baggage, tracerProvider, meterProvider, ...options } = given as BullmqJobOptions;
  const { jobId, deduplication, debounce } = options as Record<string, unknown>;
  checkJobId(queue, jobId);
  return {
    options,
    request: requestOf({ taskId: labelOf(jobId), tags }),
    settings: {
      name: labelOf(name) ?? UNNAMED,
      maxAttempts: undefined,
      relation: checkRelation(relation ?? "parent"),
      route: routeOf(queue.name),
      telemetry: telemetryOf({ baggage, tracerProvider, meterProvider }),
    },
    mark: [jobId, deduplication, debounce].every((own) => own == null) ? undefined : crypto.randomUUID(),
  };
}

// BullMQ would put the job in the place of its key, and no job of the queue would run any more.
function checkJobId({ keys = {} }: BullmqJobQueue, jobId: unknown): void {
  if (typeof jobId !== "string" || !Object.hasOwn(keys, jobId)) return;
  throw new TaskConfigError("jobId: expected an id that is no key of BullMQ's own, such as wait, active or meta");
}

/**
 * A processor whose jobs run as attempts: in their task's context, within a span that gets the outcome. It returns
 * and throws what the given one does, and takes as many parameters, by which BullMQ decides whether there is a
 * signal; that aborts the task's own signal as well, and how the job ends then is up to the processor.
 * `NonRetryableError` fails a job for good. Jobs that were added without tags get a context, too.
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
  // BullMQ calls with a job, a token and perhaps a signal, whatever a processor declares
  const process = processor as unknown as Processor;
  const runAttempt = attemptRunner(process.name, telemetry);
  // BullMQ calls a processor as a method of its Worker
  const run: Processor = async function (job, token, signal) {
    let failure: Failure | undefined;
    const call = async (): Promise<unknown> => {
      const task = getTaskContext();
      if (signal !== undefined && task !== undefined) passOnAbort(signal, task, "the worker cancelled the job");
      try {
        return await process.call(this, job, token, signal);
      } catch (error) {
        failure = await failureOf(job, error);
        throw error;
      }
    };
    try {
      return await runAttempt(
        infoOf(job, name, () => failure?.verdict),
        call,
      );
    } catch (error) {
      throw failure === undefined ? error : failure.error;
    }
  };
  Object.defineProperty(run, "length", { value: process.length });
  return run as unknown as typeof processor;
}

function infoOf(job: TaskJob, name: string | undefined, verdict: () => Verdict): AttemptInfo {
  const { id, opts, queueName } = job;
  return {
    engine: BULLMQ,
    system: BULLMQ,
    destination: queueName,
    taskId: labelOf(id),
    funcName: name ?? labelOf(job.name) ?? UNNAMED,
    carrier: opts[ENVELOPE_KEY],
    attempt: attemptOf(job),
    maxAttempts: maxAttemptsOf(job),
    dueAt: dueAtOf(job),
    redelivered: isRedelivered(job),
    deferIf: () => verdict() === "deferred",
    giveUpIf: () => verdict() === "failure",
  };
}
