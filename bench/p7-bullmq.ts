// The BullMQ adapter with a recording SDK, against bullmq-otel, BullMQ alone, and BullMQ with a span by hand around the
// processor. REDIS_URL, or the usual port.
import { setTimeout as wait } from "node:timers/promises";
import { context, propagation, SpanKind, trace } from "@opentelemetry/api";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import { Queue, Worker } from "bullmq";
import { BullMQOtel } from "bullmq-otel";
import { addJob, addJobs, type BullmqJob, withTask } from "otel-taskflow/bullmq";
import { type Measurement, type Round, timed } from "./harness/measurement.js";
import { startSdk } from "./harness/sdk.js";

const ADDS = 1_000;
const ADDS_AT_ONCE = 50;
const JOBS = 1_000;
const CONCURRENCY = 50;
const DATA = { order: 7 };
const OPTIONS = { removeOnComplete: true };
const TAGGED = { ...OPTIONS, tags: { plan: "pro" } };
const common = { unit: "µs", judgement: "ratio", rounds: 12, warmUp: 4, pairs: 3 } as const;

type Processor = () => Promise<void>;

/** A way to use BullMQ. */
interface Way {
  readonly bullmq: { readonly telemetry?: BullMQOtel };
  add(queue: Queue): Promise<unknown>;
  addMany(queue: Queue): Promise<unknown>;
  processor(process: Processor): (job: BullmqJob) => Promise<void>;
}

export const measurements: readonly Measurement[] = [
  {
    ...common,
    what: "an `addJob`, SDK recording, against `queue.add` with bullmq-otel",
    target: 1,
    ours: () => adds(ours(OPTIONS)),
    peer: () => adds(bullmqOtel()),
  },
  {
    ...common,
    what: "the same with a tag",
    target: 1.15,
    ours: () => adds(ours(TAGGED)),
    peer: () => adds(bullmqOtel()),
  },
  {
    ...common,
    what: "a no-op job through `withTask`, concurrency 50, SDK recording, against bullmq-otel",
    target: 1,
    ours: () => jobs(ours(OPTIONS), noop),
    peer: () => jobs(bullmqOtel(), noop),
  },
  {
    ...common,
    what: "the same with a tag",
    target: 1.15,
    ours: () => jobs(ours(TAGGED), noop),
    peer: () => jobs(bullmqOtel(), noop),
  },
  {
    ...common,
    what: "a job that waits 5 ms through `withTask`, concurrency 50, SDK recording, against BullMQ alone",
    target: 1.03,
    ours: () => jobs(ours(OPTIONS), waiting),
    peer: () => jobs(alone(), waiting),
  },
  {
    ...common,
    what: "the same, against a span by hand around the processor",
    target: 1.15,
    ours: () => jobs(ours(OPTIONS), waiting),
    peer: () => jobs(byHand(), waiting),
  },
];

async function noop(): Promise<void> {}

function waiting(): Promise<void> {
  return wait(5);
}

function ours(opts: typeof OPTIONS): Way {
  record();
  const many = Array.from({ length: JOBS }, () => ({ name: "charge", data: DATA, opts }));
  return {
    bullmq: {},
    add: (queue) => addJob(queue, "charge", DATA, opts),
    addMany: (queue) => addJobs(queue, many),
    processor: (process) => withTask(process),
  };
}

function bullmqOtel(): Way {
  record();
  return { ...alone(), bullmq: { telemetry: new BullMQOtel() } };
}

// Nothing from the producer, no task context, no outcome: the least that makes a job a span.
function byHand(): Way {
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

function alone(): Way {
  const many = Array.from({ length: JOBS }, () => ({ name: "charge", data: DATA, opts: OPTIONS }));
  return {
    bullmq: {},
    add: (queue) => queue.add("charge", DATA, OPTIONS),
    addMany: (queue) => queue.addBulk(many),
    processor: (process) => process,
  };
}

function record(): void {
  startSdk();
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
}

function adds(way: Way): Round {
  const queue = openQueue(way);
  const round = timed("µs", ADDS, async () => {
    for (let added = 0; added < ADDS; added += ADDS_AT_ONCE) {
      await Promise.all(Array.from({ length: ADDS_AT_ONCE }, () => way.add(queue)));
    }
  });
  return async () => {
    const figure = await round();
    await queue.drain();
    return figure;
  };
}

function jobs(way: Way, process: Processor): Round {
  const queue = openQueue(way);
  const processor = way.processor(process);
  return async () => {
    await way.addMany(queue);
    const worker = new Worker(queue.name, processor, {
      ...{ ...way.bullmq, connection: connection(), concurrency: CONCURRENCY, autorun: false },
    });
    await worker.waitUntilReady();
    const figure = await timed("µs", JOBS, () => runAll(worker))();
    await worker.close();
    return figure;
  };
}

function runAll(worker: Worker): Promise<void> {
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
function openQueue({ bullmq }: Way): Queue {
  const queue = new Queue(`bench-${process.pid}`, { ...bullmq, connection: connection() });
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
