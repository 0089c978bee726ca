import type { Job, Queue } from "bullmq";
import * as byHand from "otel-taskflow/bullmq";
import { afterAll, beforeAll, describe } from "vitest";
import { type Bullmq, describeVersions, type OpenLab } from "./lab.js";

/**
 * The ways by which jobs become tasks: calls of the adapter, or a patched module whose methods are called as ever. A case
 * that is given these functions of a road, under the adapter's names, holds for both.
 */
export interface Road {
  /**
   * Patched it is `queue.add`, and tags and relation are what the options of `withTasks` answer for the job; where they are
   * asked on its arrival, the tags are those of its data.
   */
  readonly addJob: typeof byHand.addJob;
  /** Patched it is `queue.addBulk`. */
  readonly addJobs: typeof byHand.addJobs;
  /** Patched it is `flowProducer.add`. */
  readonly addFlow: typeof byHand.addFlow;
  /** Patched it leaves the processor as it is. */
  readonly withTask: typeof byHand.withTask;
  /** `queue.add` of a producer that does not have this library. */
  addElsewhere(queue: Queue, name: string, data: unknown, options?: object): Promise<Job>;
}

type Wishes = Pick<byHand.BullmqJobOptions, "tags" | "relation">;
type Call = (...args: unknown[]) => unknown;

/** A job as it is added. */
interface Node {
  readonly name?: unknown;
  readonly data?: unknown;
  readonly opts?: Wishes | undefined;
  readonly children?: readonly Node[] | undefined;
}

const BY_HAND: Road = {
  ...byHand,
  addElsewhere: (queue, name, data, options) => queue.add(name, data, options),
};

// each of them takes what its namesake takes, of which it passes on all but the wishes
const PATCHED = {
  addJob: (queue: { add: Call }, name: unknown, data: unknown, opts: Wishes | undefined) =>
    adding({ name, data, opts }, (job) => queue.add(name, data, job.opts)),
  addJobs: (queue: { addBulk: Call }, jobs: readonly Node[]) =>
    adding({ children: jobs }, ({ children }) => queue.addBulk(children)),
  addFlow: (producer: { add: Call }, flow: Node, ...rest: unknown[]) =>
    adding(flow, (tree) => producer.add(tree, ...rest)),
  withTask: (processor: unknown) => processor,
} as unknown as Omit<Road, "addElsewhere">;

/** What is being added, for the options of `withTasks` to know it again. */
let nodes: Node[] = [];

/** The same cases with every version of BullMQ, by hand and patched. */
export async function describeRoads(
  what: string,
  cases: (open: OpenLab, bullmq: Bullmq, road: Road) => void,
): Promise<void> {
  await describeVersions(what, (open, bullmq) => onEachRoad(bullmq, (road) => cases(open, bullmq, road)));
}

/** The same cases by hand and patched. */
export function onEachRoad(bullmq: Bullmq, cases: (road: Road) => void): void {
  describe("by hand", () => cases(BY_HAND));
  describe("patched", () => {
    const { add } = bullmq.Queue.prototype;
    patchMeanwhile(bullmq);
    cases({ ...PATCHED, addElsewhere: (queue, ...job) => Reflect.apply(add, queue, job) });
  });
}

/** Patches a module for the cases of the suite that is being described, and leaves it as it was. */
function patchMeanwhile({ Queue, FlowProducer, Worker }: Bullmq): void {
  const prototypes = [Queue, FlowProducer, Worker].map(({ prototype }) => prototype);
  const before = prototypes.map((prototype) => Object.getOwnPropertyDescriptors(prototype));
  beforeAll(() => {
    const wishesOf = (job: Node): Wishes | undefined =>
      nodes.find(({ name, data }) => name === job.name && data === job.data)?.opts;
    byHand.withTasks(
      { Queue, FlowProducer, Worker },
      { tags: (job) => (wishesOf(job) ?? (job.data as Wishes))?.tags, relation: (job) => wishesOf(job)?.relation },
    );
  });
  afterAll(() => {
    for (const [index, prototype] of prototypes.entries()) Object.defineProperties(prototype, before[index] ?? {});
  });
}

/** Calls `add` with a copy of a job, or a tree of jobs, without their wishes, which the options of `withTasks` answer. */
function adding(job: Node, add: (job: Node) => unknown): unknown {
  nodes = withChildren(job);
  try {
    return add(withoutWishes(job));
  } catch (error) {
    return Promise.reject(error);
  } finally {
    nodes = [];
  }
}

function withChildren(node: Node): Node[] {
  return [node, ...(node.children ?? []).flatMap(withChildren)];
}

function withoutWishes({ opts, children, ...rest }: Node): Node {
  const { tags: _tags, relation: _relation, ...others } = opts ?? {};
  return {
    ...rest,
    ...(opts && { opts: others }),
    ...(children && { children: children.map(withoutWishes) }),
  };
}
