import { inject, type TaskOrigin } from "../../core/carrier.js";
import { checkRelation } from "../../core/checks.js";
import { type EnqueueRequest, type EnqueueSettings, enqueue, requestOf } from "../../core/enqueue.js";
import { telemetryOf } from "../../core/telemetry.js";
import type { Carrier, ProducerOptions } from "../../core/types.js";
import { ENVELOPE_KEY } from "../envelope.js";
import { labelOf, routeOf, UNNAMED } from "./job.js";

/** What a job can be told besides BullMQ's own options. */
export type BullmqJobOptions = ProducerOptions;

/** The part of a BullMQ queue that is used. */
export interface BullmqJobQueue {
  readonly name: string;
  add(name: string, data: unknown, options?: object): Promise<BullmqAddedJob>;
  addBulk(jobs: BullmqBulkItem[]): Promise<readonly BullmqAddedJob[]>;
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

/** A job about to be added: for BullMQ, and for its enqueue span. */
interface Addition {
  /** BullMQ's own; the carrier joins them. */
  readonly options: Record<string, unknown>;
  readonly request: EnqueueRequest;
  readonly settings: EnqueueSettings;
}

const JOB_ID = { idOf: ({ id }: BullmqAddedJob): string | undefined => id };

/**
 * `queue.add` with tags: within an enqueue span, the carrier in an option of the job, the data as it is. Resolves
 * to the job, and rejects as `queue.add` does. `task.id` is the job's id.
 *
 * @throws TaskConfigError for an illegal tag or option; nothing was added.
 */
export async function addJob<Q extends BullmqJobQueue>(
  queue: Q,
  name: Parameters<Q["add"]>[0],
  data: Parameters<Q["add"]>[1],
  options?: WithTags<Parameters<Q["add"]>[2]>,
): Promise<Awaited<ReturnType<Q["add"]>>> {
  const { options: own, request, settings } = additionOf(queue, name, options);
  const add = (origin: TaskOrigin): Promise<BullmqAddedJob> => {
    own[ENVELOPE_KEY] = inject(origin);
    return queue.add(name, data, own);
  };
  const added = await enqueue(request, settings, add, JOB_ID);
  // what this very queue's add resolved to
  return added as Awaited<ReturnType<Q["add"]>>;
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
  const additions = jobs.map((job) => ({ job, ...additionOf(queue, job.name, job.opts) }));
  const bulk: BullmqBulkItem[] = [];
  // a microtask later, when every job has joined; still in the caller's context, outside of all their spans
  const stored = Promise.resolve().then(() => queue.addBulk(bulk));
  const adding = additions.map(({ job, options, request, settings }, index) => {
    const join = async (origin: TaskOrigin): Promise<BullmqAddedJob> => {
      options[ENVELOPE_KEY] = inject(origin);
      bulk.push({ ...job, opts: options });
      return (await stored)[index] ?? {};
    };
    return enqueue(request, settings, join, JOB_ID);
  });
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

function additionOf(queue: BullmqJobQueue, name: string, given: object = {}): Addition {
  const { tags, relation, baggage, tracerProvider, meterProvider, ...options } = given as BullmqJobOptions;
  const { jobId } = options as Record<string, unknown>;
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
  };
}
