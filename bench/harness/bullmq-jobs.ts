// Jobs of BullMQ, added and run in five ways.
import { setTimeout as wait } from "node:timers/promises";
import { context, propagation, SpanKind, trace } from "@opentelemetry/api";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import * as bullmq from "bullmq";
import { BullMQOtel } from "bullmq-otel";
import { addJob, addJobs, type BullmqJob, withTask, withTasks } from "otel-taskflow/bullmq";
import { type Round, timed } from "./measurement.js";
import { startSdk } from "./sdk.js";

const { Queue, Worker } = bullmq;

const ADDS = 1_000;
const ADDS_AT_ONCE = 50;
const BULK = 500;
const JOBS = 1_000;
const CONCURRENCY = 50;
const DATA = { order: 7 };
const OPTIONS = { removeOnComplete: true };

type Processor = () => Promise<void>;

/** A way to use BullMQ. */
interface Way {
  readonly bullmq: { readonly telemetry?: BullMQOtel };
  add(queue: bullmq.Queue): Promise<unknown>;
  /** Adds them in one call. */
  addMany(queue: bullmq.Queue, count: number): Promise<unknown>;
  processor(process: Processor): (job: BullmqJob) => Promise<void>;
}

export async function noop(): Promise<void> {}

export function waiting(): Promise<void> {
  return wait(5);
}

/** This package's adapter. */
export function ours(tags?: Record<string, string>): Way {
  record();
  const opts = tags === undefined ? OPTIONS : { ...OPTIONS, tags };
  return {
    bullmq: {},
    add: (queue) => addJob(queue, "charge", DATA, opts),
    addMany: (queue, count) => addJobs(queue, manyOf(count, opts)),
    processor: (process) => withTask(process),
  };
}

/** BullMQ's own calls, of classes that this package has patched. */
export function patched(): Way {
  record();
  withTasks(bullmq);
  return alone();
}

/** bullmq-otel. */
export function bullmqOtel(): Way {
  record();
  return { ...alone(), bullmq: { telemetry: new BullMQOtel() } };
}

/** Nothing from the producer, no task context, no outcome: the least that makes a job a span. */
export function byHand(): Way {
  record();
  const tracer = trace.getTracer("by-hand");
  const around =
    (process: Processor) =>
    ({ id = "", name }: BullmqJob): Promise<void> => {
      const attributes = { "messaging.system": "bullmq", "messaging.message.id": id };
      const span = tracer.startSpan(`process ${name}`, { kind: SpanKind.CONSUMER, attributes });
      return context.with(trace.setSpan(context.active(), span), process).finally(() => span.end());
    };
  return { ...alone(), processor: around };
}

/** BullMQ as it is. */
export function alone(): Way {
  return {
    bullmq: {},
    add: (queue) => queue.add("charge", DATA, OPTIONS),
    addMany: (queue, count) => queue.addBulk(manyOf(count, OPTIONS)),
    processor: (process) => process,
  };
}

function manyOf<Options>(count: number, opts: Options): { name: string; data: typeof DATA; opts: Options }[] {
  return Array.from({ length: count }, () => ({ name: "charge", data: DATA, opts }));
}

function record(): void {
  startSdk();
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
}

/** Adds jobs, many at once; µs per job. */
export function adds(way: Way): Round {
  const queue = openQueue(way);
  const round = timed("µs", ADDS, async () => {
    for (let added = 0; added < ADDS; added += ADDS_AT_ONCE) {
      await Promise.all(Array.from({ length: ADDS_AT_ONCE }, () => way.add(queue)));
    }
  });
  return emptying(queue, round);
}

/** Adds jobs, all in one call; µs per job. */
export function bulks(way: Way): Round {
  const queue = openQueue(way);
  return emptying(
    queue,
    timed("µs", BULK, () => way.addMany(queue, BULK)),
  );
}

function emptying(queue: bullmq.Queue, round: Round): Round {
  return async () => {
    const figure = await round();
    await queue.drain();
    return figure;
  };
}

/** Runs jobs that have been added; µs per job. */
export function jobs(way: Way, process: Processor): Round {
  const queue = openQueue(way);
  const processor = way.processor(process);
  return async () => {
    await way.addMany(queue, JOBS);
    const worker = new Worker(queue.name, processor, {
      ...{ ...way.bullmq, connection: connection(), concurrency: CONCURRENCY, autorun: false },
    });
    await worker.waitUntilReady();
    const figure = await timed("µs", JOBS, () => runAll(worker))();
    await worker.close();
    return figure;
  };
}

function runAll(worker: bullmq.Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = JOBS;
    worker.on("completed", () => {
      left -= 1;
      if (left === 0) resolve();
    });
    worker.on("failed", (_job, error) => reject(error));
    worker.run().catch(reject);
  });
}

// One for each side, gone when the side is.
function openQueue({ bullmq: options }: Way): bullmq.Queue {
  const queue = new Queue(`bench-${process.pid}`, { ...options, connection: connection() });
  process.once("disconnect", async () => {
    await queue.obliterate({ force: true });
    await queue.close();
  });
  return queue;
}

function connection(): { host: string; port: number } {
  const { hostname: host, port } = new URL(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
  return { host, port: Number(port || 6379) };
}
