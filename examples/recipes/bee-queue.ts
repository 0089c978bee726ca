import { type Carrier, enqueueTask, getTaskContext, runAttempt, taskLog } from "otel-taskflow";

const RETRIES = 2;
const ROUTE = { engine: "bee-queue", system: "redis", destination: "orders" };

export interface Order {
  readonly id: number;
}

/** What a job holds: the carrier stands beside the data that it held before. */
export interface Stored {
  readonly carrier: Carrier;
  readonly data: Order;
}

/** The part of a bee-queue job that is used; `options.retries` says how often it may still run again. */
export interface BeeJob {
  readonly id: string;
  readonly data: Stored;
  readonly options: { readonly retries: number };
}

/** The part of a bee-queue that is used: `new Queue("orders")` is one. */
export interface BeeQueue {
  createJob(stored: Stored): { retries(count: number): { save(): Promise<BeeJob> } };
  process(handler: (job: BeeJob) => Promise<unknown>): void;
}

/** The task's id is the job's: `idOf` tells it to the enqueue span, `taskId` to the attempts. */
export async function enqueueOrder(queue: BeeQueue, data: Order, plan: string): Promise<void> {
  const task = { funcName: "shipOrder", tags: { plan }, maxAttempts: RETRIES + 1, ...ROUTE };
  await enqueueTask(task, (carrier) => queue.createJob({ carrier, data }).retries(RETRIES).save(), {
    idOf: ({ id }) => id,
  });
}

/** Each run of a job is an attempt. What it throws is bee-queue's to judge, as before. */
export function work(queue: BeeQueue): void {
  queue.process(async ({ id: taskId, data: { carrier, data }, options }) => {
    return await runAttempt({ carrier, taskId, attempt: RETRIES - options.retries, ...ROUTE }, () => shipOrder(data));
  });
}

async function shipOrder({ id }: Order): Promise<void> {
  taskLog("shipping", { order: id, attempt: getTaskContext()?.attempt });
  if (id < 0) throw new Error("no such order");
}
