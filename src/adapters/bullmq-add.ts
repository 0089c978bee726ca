import { namesOf } from "../core/checks.js";
import { TaskConfigError } from "../core/errors.js";
import { splitProducerOptions } from "../core/info-keys.js";
import { promiseOf } from "../core/thenable.js";
import type { ProducerOptions } from "../core/types.js";
import { fieldsOf } from "../core/wire.js";
import { type BullmqJob, labelOf } from "../engines/bullmq/stored-task.js";
import { addTree } from "./bullmq-add-flow.js";
import { type Addition, additionOf, addTogether, addWithin, type NewJob, type TargetQueue } from "./bullmq-add-job.js";
import { BY_HAND, type Door } from "./door.js";

/** The options of {@link BullmqJobOptions}, as the compiler knows them all. */
const OWN_KEYS = [
  ...namesOf<BullmqJobOptions>({
    tags: true,
    relation: true,
    baggage: true,
    tracerProvider: true,
    meterProvider: true,
  }),
];
const NO_WISHES: BullmqJobOptions = Object.freeze({});

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

/** The part of BullMQ's FlowProducer that is used. */
export interface BullmqFlowProducer {
  add(flow: never, options?: never): Promise<unknown>;
}

type OptionsIn<Node> = Node extends { opts?: infer Options } ? Options : object;
type ChildIn<Node> = Node extends { children?: readonly (infer Child)[] } ? Child : never;

/** A flow as this producer's `add` takes it; the options of each of its jobs may have {@link BullmqJobOptions} as well. */
export type BullmqFlow<Node> = Node extends object
  ? Omit<Node, "opts" | "children"> & {
      readonly opts?: WithTags<OptionsIn<Node>> | undefined;
      readonly children?: readonly BullmqFlow<ChildIn<Node>>[] | undefined;
    }
  : never;

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
    const addition = additionByHand(queue, { name, data, opts: options });
    return addWithin(addition, (own) => queue.add(name, data, fieldsOf(own)), queue);
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
  const additions = jobs.map((job) => additionByHand(queue, jobOf(job)));
  const added = addAll(jobs, additions, queue, (bulk) => queue.addBulk(bulk as BullmqBulkItem[]));
  // it is what this very queue's `addBulk` resolved to
  return (await added) as Awaited<ReturnType<Q["addBulk"]>>;
}

/**
 * `flowProducer.add` with tags: each job of the tree gets an enqueue span and a carrier of its own, in whatever queue
 * it is, and the whole flow is one trace. `options` are those of `flowProducer.add`. Resolves and rejects as that does.
 *
 * @throws TaskConfigError for an illegal tag or option of any job; nothing was added.
 */
export function addFlow<F extends BullmqFlowProducer>(
  flowProducer: F,
  flow: BullmqFlow<Parameters<F["add"]>[0]>,
  options?: Parameters<F["add"]>[1],
): Promise<Awaited<ReturnType<F["add"]>>> {
  const added = promiseOf(() =>
    addTree(
      flow,
      (node) => additionByHand({ name: labelOf(node.queueName) }, jobOf(node)),
      // a copy of the flow, with options that this very producer takes
      (tree) => flowProducer.add(tree as never, options as never),
    ),
  );
  // it resolves to what this very producer's `add` did
  return added as Promise<Awaited<ReturnType<F["add"]>>>;
}

/** Does for `queue.add` what `door` says; `add` gets the options to call it with, and what it returns is returned. */
export function addThrough<T>(
  door: Door,
  queue: TargetQueue,
  name: unknown,
  data: unknown,
  options: unknown,
  add: (options: unknown) => T,
): T {
  // it is what `add` returned, or a promise that follows it
  return addWithin(additionOf(door, queue, { name, data, opts: options }), add, queue) as T;
}

/** Does for `queue.addBulk` what `door` says; `addBulk` gets the jobs to call it with, and what it returns is returned. */
export function addBulkThrough<T>(door: Door, queue: TargetQueue, jobs: unknown, addBulk: (jobs: unknown) => T): T {
  if (!Array.isArray(jobs)) return addBulk(jobs);
  const additions = jobs.map((job) => additionOf(door, queue, jobOf(job)));
  return addAll(jobs, additions, queue, addBulk);
}

/** Does for `add` and `addBulk` of a FlowProducer what `door` says, with one flow or several. */
export function flowThrough<T>(door: Door, tree: unknown, add: (tree: unknown) => T): T {
  return addTree(tree, (node) => additionOf(door, { name: labelOf(node.queueName) }, jobOf(node)), add);
}

function addAll<T>(
  jobs: readonly unknown[],
  additions: readonly Addition[],
  queue: TargetQueue,
  addBulk: (jobs: unknown[]) => T,
): T {
  const bulk = [...jobs];
  const join = (added: Promise<unknown>): unknown[] =>
    additions.map((addition, index) => {
      const joinOne = async (opts: unknown): Promise<unknown> => {
        const job = bulk[index];
        if (opts !== fieldsOf(job).opts) bulk[index] = { ...fieldsOf(job), opts };
        const all = await added;
        return Array.isArray(all) ? all[index] : undefined;
      };
      return addWithin(addition, joinOne, queue);
    });
  return addTogether(join, () => addBulk(bulk));
}

function additionByHand(queue: TargetQueue & Pick<BullmqJobQueue, "keys">, job: NewJob): Addition {
  const given = fieldsOf(job.opts);
  // most calls have no option of this library's, and need no copy
  const [own, opts] = OWN_KEYS.some((key) => key in given) ? splitProducerOptions(given) : [NO_WISHES, given];
  checkJobId(queue, opts.jobId);
  return additionOf(BY_HAND, queue, { name: job.name, data: job.data, opts }, own);
}

// The very promise that `call` returns: an async function would settle later.
function jobOf(given: unknown): NewJob {
  const { name, data, opts } = fieldsOf(given);
  return { name, data, opts };
}

// BullMQ would put such a job in the place of its own key, and no job of the queue would run any more.
function checkJobId({ keys }: Pick<BullmqJobQueue, "keys">, jobId: unknown): void {
  if (typeof jobId !== "string" || !Object.hasOwn(fieldsOf(keys), jobId)) return;
  throw new TaskConfigError("jobId: expected an id that is no key of BullMQ's own, such as wait, active or meta");
}
