import { inject, type TaskOrigin } from "../core/carrier.js";
import { checkRelation } from "../core/checks.js";
import { type EnqueueRequest, type EnqueueSettings, enqueue, guarded, requestOf } from "../core/enqueue.js";
import { TaskConfigError } from "../core/errors.js";
import { quietly } from "../core/guard.js";
import { splitProducerOptions } from "../core/info-keys.js";
import { telemetryOf } from "../core/telemetry.js";
import type { ProducerOptions } from "../core/types.js";
import {
  ADDED_KEY,
  type BullmqJob,
  carrierIn,
  labelOf,
  routeOf,
  UNNAMED,
  withCarrier,
} from "../engines/bullmq/stored-task.js";

/** Stands for the mark of a job that `addJob` did not add, which has none. */
const UNMARKED = "";

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
