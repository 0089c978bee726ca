import { type Context, type Link, ROOT_CONTEXT, type SpanContext, SpanKind } from "@opentelemetry/api";
import { activeContext, withContext } from "../core/context.js";
import { isNonRetryableError } from "../core/errors.js";
import { describeException } from "../core/exception.js";
import { finishSpan } from "../core/finish.js";
import { quietly, safely } from "../core/guard.js";
import { type HandlerRunner, handlerRunner, type Verdict } from "../core/handler.js";
import { attemptOfJob, noteAttempt } from "../core/job-attempts.js";
import { outsideTasks } from "../core/live-attempt.js";
import { Recent } from "../core/recent.js";
import {
  ATTR_MESSAGING_DESTINATION_NAME,
  ATTR_MESSAGING_SYSTEM,
  EVENT_MESSAGING_PROCESS_EXCEPTION,
  OPERATION_BATCH,
} from "../core/semconv.js";
import type { OwnSpan } from "../core/span.js";
import { isThenable, promiseOf } from "../core/thenable.js";
import { fieldsOf } from "../core/wire.js";
import { type CarriedData, Carriers } from "../engines/pg-boss/carriers.js";
import { PG_BOSS } from "../engines/pg-boss/library.js";
import { type Door, telemetryAt } from "./door.js";
import { columnOf } from "./pg-boss-column.js";
import { attemptKey, hideMetadata, keepCarriers, type ReadJob, readJob, type TaskJob, viewOf } from "./pg-boss-job.js";
import { MAX_OUTPUT, storableResult, storableThrown } from "./pg-boss-output.js";
import { settlesEach } from "./pg-boss-run.js";

/** A handler as an application gives it to `work`: called with a batch, and within a transaction with that. */
export type BatchHandler = (jobs: TaskJob[], ...rest: unknown[]) => unknown;

/** A worker as pg-boss is to have it. */
interface BatchWorker {
  readonly options: object;
  readonly handler: (jobs: TaskJob[], ...rest: unknown[]) => Promise<unknown>;
}

/** What all batches of a worker share. */
interface Worker {
  readonly boss: object;
  readonly queue: string;
  readonly carriers: Carriers;
  readonly failed: Recent<SpanContext>;
  readonly functionName: string;
  readonly runners: WeakMap<Door, HandlerRunner>;
  /** The handler says of each job how it has ended. */
  readonly tellsEach: boolean;
  /** It is told to pg-boss of each job how it has ended, so that a `NonRetryableError` can fail one for good. */
  readonly settles: boolean;
}

/** A job of a batch that becomes an attempt. */
interface Attempting extends ReadJob {
  readonly job: TaskJob;
}

/**
 * Makes a worker whose jobs run as attempts by the door of each call. A batch stays one call. A job that is alone in it
 * has its handler called in its own task; of several, each has an attempt that ends as the batch does, and the handler is
 * called outside of them. What pg-boss stores of a job's end is the same as without.
 */
export function workerOf(
  door: () => Door | undefined,
  boss: object,
  queue: string,
  options: Record<string, unknown>,
  handler: BatchHandler,
): BatchWorker {
  const { includeMetadata = false, perJobResults = false, transactional = false } = options;
  const isOpen = door() !== undefined;
  const hides = isOpen && includeMetadata === false;
  const settles = isOpen && perJobResults === false && transactional === false && settlesEach(boss);
  const worker: Worker = {
    ...{ boss, queue, settles, functionName: handler.name, tellsEach: perJobResults === true && settlesEach(boss) },
    ...{ carriers: new Carriers(boss, queue), failed: new Recent(), runners: new WeakMap() },
  };
  const run = async (jobs: TaskJob[], ...rest: unknown[]): Promise<unknown> => {
    const own = door();
    const reading = own === undefined ? [] : attemptsIn(jobs, own, worker);
    // not awaited without need: the attempts' timeout has to start before pg-boss's own
    const attempts = isThenable(reading) ? await reading : reading;
    if (hides) jobs.forEach(hideMetadata);
    const call = (): Promise<unknown> => promiseOf(() => handler(jobs, ...rest));
    if (own === undefined && !settles) return await call();
    const handled = own === undefined ? call() : runBatch(jobs, attempts, own, worker, call);
    return await (settles ? resultsOf(jobs, handled) : toldOf(jobs, handled));
  };
  const more = { ...(hides && { includeMetadata: true }), ...(settles && { perJobResults: true }) };
  return { options: { ...options, ...more }, handler: run };
}

// pg-boss stores the same of each job as it would of the batch, but for an error after which no attempt is to follow, and
// for what it could not store.
async function resultsOf(jobs: readonly TaskJob[], handled: Promise<unknown>): Promise<unknown> {
  try {
    const value = await handled;
    const output = jobs.length === 1 ? storableResult(value, MAX_OUTPUT, jobs) : undefined;
    return jobs.map(({ id }) => ({ id, status: "completed", output }));
  } catch (error) {
    const output = storableThrown(error, MAX_OUTPUT, jobs);
    if (!isNonRetryableError(error)) throw output;
    return jobs.map(({ id }) => ({ id, status: "deadletter", output }));
  }
}

async function toldOf(jobs: readonly TaskJob[], handled: Promise<unknown>): Promise<unknown> {
  try {
    return storableResult(await handled, MAX_OUTPUT, jobs);
  } catch (error) {
    throw storableThrown(error, MAX_OUTPUT, jobs);
  }
}

// --- reading

function attemptsIn(jobs: TaskJob[], door: Door, worker: Worker): Attempting[] | Promise<Attempting[]> {
  const { boss, queue } = worker;
  const found = safely("reading a batch's carriers", () => columnOf(boss)?.arrived(boss, queue, jobs)) ?? [];
  const inData = jobs.map((job) => dataOf(job, worker));
  const read = (inColumn: Awaited<typeof found>, data: readonly CarriedData[]): Attempting[] => {
    keepCarriers(jobs, inColumn);
    return jobs.flatMap((job, n) => {
      const own = data[n] ?? { data: job.data, carrier: undefined };
      if (own.carrier !== undefined) Object.assign(job, { data: own.data });
      return safely("reading a job", () => attemptIn(job, door, own, worker)) ?? [];
    });
  };
  const areHere = inData.filter((data) => !isThenable(data)).length === jobs.length;
  // of these none is a promise
  if (areHere && !isThenable(found)) return read(found, inData as CarriedData[]);
  return Promise.all([found, Promise.all(inData)]).then(([inColumn, data]) => read(inColumn, data));
}

function dataOf(job: TaskJob, { carriers }: Worker): CarriedData | Promise<CarriedData> {
  const asData = { data: job.data, carrier: undefined };
  const read = safely("reading a job's data", () => carriers.read(job)) ?? asData;
  return isThenable(read) ? quietly("asking for the schedules of a queue", () => read, asData) : read;
}

function attemptIn(job: TaskJob, door: Door, data: CarriedData, { failed }: Worker): Attempting[] {
  if (door.ignore?.(viewOf(job)) === true) return [];
  return [{ job, ...readJob(job, door, data, failed.take(attemptKey(job.id, job.retryCount))) }];
}

// --- running

function runBatch(
  jobs: readonly TaskJob[],
  attempts: readonly Attempting[],
  door: Door,
  worker: Worker,
  call: () => Promise<unknown>,
): Promise<unknown> {
  const [first] = attempts;
  if (first === undefined) return call();
  const runHandler = worker.runners.get(door) ?? handlerRunner(worker.functionName, door.telemetry);
  worker.runners.set(door, runHandler);
  return jobs.length === 1
    ? runAlone(first, runHandler, worker, call)
    : runTogether(attempts, runHandler, { door, worker, call });
}

// The end is the handler's own, also where the attempt came to its end before: then pg-boss has given up on it, too.
async function runAlone(
  attempting: Attempting,
  runHandler: HandlerRunner,
  worker: Worker,
  call: () => Promise<unknown>,
): Promise<unknown> {
  let handled: Promise<unknown> | undefined;
  const handle = (): Promise<unknown> => {
    handled = call();
    return handled;
  };
  await runOne(attempting, runHandler, worker, handle);
  return await (handled ?? call());
}

async function runTogether(
  attempts: readonly Attempting[],
  runHandler: HandlerRunner,
  { door, worker, call }: { door: Door; worker: Worker; call: () => Promise<unknown> },
): Promise<unknown> {
  let begin: (handled: Promise<unknown>) => void = () => {};
  const begun = new Promise<unknown>((resolve) => {
    begin = resolve;
  });
  // an attempt that was cancelled before it began does not ask
  begun.catch(() => {});
  const timeout = Math.max(...attempts.map(({ info }) => info.timeout ?? 0));
  const running = attempts.map((attempting) =>
    // pg-boss waits for a batch as long as for the job that may take longest
    runOne({ ...attempting, info: { ...attempting.info, timeout } }, runHandler, worker, () => begun),
  );
  const base = columnOf(worker.boss) === undefined ? ROOT_CONTEXT : activeContext();
  const span = batchSpan(attempts, door, worker, base);
  const handled = outsideTasks(() => withContext(span.within(base), call));
  begin(handled);
  handled.then(
    () => finishSpan(span),
    (error: unknown) => finishBatch(span, error, door),
  );
  await Promise.all(running);
  return await handled;
}

/** Runs one job as an attempt, which ends as `handle` says. Never rejects. */
async function runOne(
  { job, info, wishes }: Attempting,
  runHandler: HandlerRunner,
  { failed, tellsEach, settles }: Worker,
  handle: () => Promise<unknown>,
): Promise<void> {
  let status: unknown;
  const run = async (): Promise<unknown> => {
    noteAttempt(job);
    const value = await handle();
    if (!tellsEach) return value;
    const end = endIn(value, job);
    status = end.status;
    if (status !== "completed") throw end.output;
    return end.output;
  };
  const isLast = info.maxAttempts === undefined || (info.attempt ?? 0) >= info.maxAttempts - 1;
  const foresee = async (thrown: unknown): Promise<Verdict> => {
    if (status === "deadletter") return "failure";
    // of what pg-boss settles by itself, it does not know that no attempt is to follow
    return isNonRetryableError(thrown) && !settles && !isLast ? "retry" : undefined;
  };
  const ended = await quietly("running a job as an attempt", () => runHandler(info, run, { foresee, wishes }));
  if (ended !== undefined && ended.end.outcome !== "success")
    failed.keep(attemptKey(job.id, (info.attempt ?? 0) + 1), ended.span);
}

// pg-boss fails a job of which it is told nothing that it knows; of two ends it takes the last.
function endIn(results: unknown, { id }: TaskJob): { readonly status: unknown; readonly output: unknown } {
  if (!Array.isArray(results)) {
    return { status: "failed", output: new Error("perJobResults handler must resolve with an array of job results") };
  }
  const known: readonly unknown[] = ["completed", "failed", "deadletter"];
  const own = results.map(fieldsOf).filter((result) => result.id === id && known.includes(result.status));
  const { status = "failed", output } = own.at(-1) ?? { output: new Error("no disposition returned by handler") };
  return { status, output };
}

// --- a batch of several

function batchSpan(attempts: readonly Attempting[], door: Door, { queue }: Worker, base: Context): OwnSpan {
  const [first] = attempts;
  const label = first?.wishes.label ?? queue;
  return telemetryAt(door).startSpan(OPERATION_BATCH, label, base, () => ({
    kind: SpanKind.INTERNAL,
    attributes: { [ATTR_MESSAGING_SYSTEM]: PG_BOSS, [ATTR_MESSAGING_DESTINATION_NAME]: queue },
    links: attempts.flatMap(({ job }) => linkTo(job)),
  }));
}

function linkTo(job: TaskJob): Link[] {
  const context = attemptOfJob(job)?.attempt.span.spanContext();
  return context === undefined ? [] : [{ context }];
}

function finishBatch(span: OwnSpan, error: unknown, door: Door): void {
  const exception = describeException(error);
  const telemetry = telemetryAt(door);
  finishSpan(span, {
    ...{ exception, telemetry, eventName: EVENT_MESSAGING_PROCESS_EXCEPTION, level: "warn" },
    task: () => ({}),
  });
}
