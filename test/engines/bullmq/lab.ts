import * as bullmq6 from "bullmq";
import * as bullmq5 from "bullmq5";
import type { BullmqProcessor, BullmqWorkerClass } from "otel-taskflow/bullmq";
import { describe, expect, onTestFinished, vi } from "vitest";
import { redisUrl } from "../../support/servers.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { FAST } from "./worlds.js";

export type Bullmq = typeof bullmq6;
export type { Job } from "bullmq";

type Processor = bullmq6.Processor;
type Job = bullmq6.Job;

const ENDS_WITHIN_MS = 15_000;
// what these tests use of version 5 is the same, but for the types' names
const VERSIONS = { "bullmq 5": bullmq5 as unknown as Bullmq, "bullmq 6": bullmq6 };

/** A queue of the running test's own, and what works on it; closed and removed afterwards. */
export interface Lab {
  readonly bullmq: Bullmq;
  readonly queue: bullmq6.Queue;
  readonly connection: { readonly host: string; readonly port: number };
  work(processor: Processor | string, options?: Partial<bullmq6.WorkerOptions>): bullmq6.Worker;
  flow(): bullmq6.FlowProducer;
  /** The job, once it is in this state. */
  reaches(state: "completed" | "failed" | "delayed" | "waiting", id: string | undefined): Promise<Job>;
}

export type OpenLab = (options?: Partial<bullmq6.QueueOptions>) => Lab;

/** The same cases with every version of BullMQ, on Redis. */
export async function describeVersions(what: string, cases: (open: OpenLab, bullmq: Bullmq) => void): Promise<void> {
  const { url, unavailable } = await redisUrl();
  for (const [title, bullmq] of Object.entries(VERSIONS)) {
    if (url === undefined) describeUnavailable(`${what}, ${title}`, unavailable);
    else describe(`${what}, ${title}`, () => cases((options) => openLab(bullmq, url, options), bullmq));
  }
}

export function openLab(bullmq: Bullmq, url: string, options: Partial<bullmq6.QueueOptions> = {}): Lab {
  const { hostname: host, port } = new URL(url);
  const connection = { host, port: Number(port || 6379) };
  const name = `jobs-${crypto.randomUUID()}`;
  const queue = new bullmq.Queue(name, { connection, ...options });
  onTestFinished(async () => {
    await queue.obliterate({ force: true });
    await queue.close();
  });
  return {
    ...{ bullmq, queue, connection },
    work(processor, more) {
      const worker = new bullmq.Worker(name, processor, { connection, ...FAST, ...more });
      worker.on("error", () => {}); // of jobs that a test takes away
      onTestFinished(() => worker.close(true));
      return worker;
    },
    flow() {
      const flow = new bullmq.FlowProducer({ connection });
      onTestFinished(async () => {
        await flow.waitUntilReady(); // closed before, it rejects a promise of its own
        await flow.close();
      });
      return flow;
    },
    reaches: (state, id) => reaches(queue, state, id),
  };
}

/** BullMQ's worker, whose jobs are seen before they run. */
export function watching({ bullmq }: Pick<Lab, "bullmq">, see: (job: Job) => void): BullmqWorkerClass {
  return class extends (bullmq.Worker as unknown as BullmqWorkerClass) {
    constructor(name: string, processor: BullmqProcessor, options: never) {
      const watched: BullmqProcessor = async (job, token) => {
        see(job as unknown as Job);
        await processor(job, token);
      };
      super(name, watched, options);
    }
  };
}

async function reaches(queue: bullmq6.Queue, state: string, id = ""): Promise<Job> {
  await vi.waitFor(async () => expect(await (await queue.getJob(id))?.getState()).toBe(state), ENDS_WITHIN_MS);
  const job = await queue.getJob(id);
  if (job === undefined) throw new Error(`there is no job ${id} any more`);
  return job;
}
