import { readAttempt } from "../core/attempt.js";
import { safely } from "../core/guard.js";
import { handlerRunner, type Verdict } from "../core/handler.js";
import { attemptOfJob, insideTask, noteAttempt, runningAttemptOf } from "../core/job-attempts.js";
import { insideAttempt } from "../core/live-attempt.js";
import { telemetryOf } from "../core/telemetry.js";
import { isRunByEngine } from "../engines/bullmq/library.js";
import { labelOf, routeOf, UNNAMED } from "../engines/bullmq/stored-task.js";
import {
  apartOf,
  beforeItsEnd,
  hasChildren,
  noteEnd,
  type ProcessedJob,
  previousOf,
  type ReadJob,
  readJob,
  viewOf,
  wholeJob,
} from "./bullmq-job.js";
import { toldOf, verdictOf } from "./bullmq-verdict.js";
import type { Door } from "./door.js";

const CANCELLED = "the worker cancelled the job";

/** A job that cannot be read runs with these facts. */
const UNREADABLE: ReadJob = { info: { ...routeOf(undefined), funcName: UNNAMED }, wishes: {} };

/** A processor as a worker calls it: with a job, a token and perhaps a signal, as a method of the worker. */
type Processor = (this: unknown, job: unknown, token?: string, signal?: AbortSignal) => unknown;

/**
 * Makes the processor that runs each job as an attempt by the door's settings. The outermost such processor makes the
 * attempt: inside of it, and where a worker of this library's own engine runs the job, `process` is only called. `name`
 * stands for the names of all jobs.
 */
export function processorOf(door: Door, process: Processor, name?: string): Processor {
  const runHandler = handlerRunner(process.name, door.telemetry);
  const run: Processor = async function (job, token, signal) {
    const call = (): unknown => process.call(this, job, token, signal);
    const whole = wholeJob(job);
    const outer = runningAttemptOf(job, labelOf(whole.id), routeOf(labelOf(whole.queueName)));
    if (outer !== undefined) return insideAttempt(outer, call);
    if (isRunByEngine(whole) || isIgnored(whole, door)) return call();
    const found = apartOf(whole);
    const apart = found === "deferred" && (await hasChildren(whole)) ? undefined : found;
    const { info, wishes } = safely("reading a job", () => readJob(whole, door, apart, name), UNREADABLE);
    let told: unknown;
    const foresee = (thrown: unknown): Promise<Verdict> => {
      told = toldOf(whole, thrown);
      return verdictOf(whole, told);
    };
    const handle = async (): Promise<unknown> => {
      noteAttempt(job);
      const value = await call();
      checkResult(value);
      return value;
    };
    const stop = signal && { signal, message: CANCELLED };
    const handled = await runHandler({ ...info, previous: previousOf(whole) }, handle, { stop, foresee, wishes });
    noteEnd(whole, handled);
    const { end } = handled;
    if (end.outcome === "success") return end.value;
    throw told ?? end.error;
  };
  Object.defineProperty(run, "length", { value: process.length });
  return run;
}

/**
 * Makes the function by which a worker calls what it tells of a job, such as its listeners: inside the context of the
 * job's task. That is the attempt which runs the job or has ended; before one has started, it is the task without a
 * span, also where it `hasEnded` so. What is no job, and the jobs of this library's own engine, are left alone.
 */
export function listenersOf(door: Door): <T>(job: unknown, fn: () => T, hasEnded?: boolean) => T {
  const telemetry = telemetryOf(door.telemetry);
  return (job, fn, hasEnded = false) => {
    const known = attemptOfJob(job);
    if (known !== undefined) return insideAttempt(known, fn);
    if (typeof job !== "object" || job === null) return fn();
    const whole = wholeJob(job);
    if (isRunByEngine(whole) || isIgnored(whole, door)) return fn();
    const read = safely("reading a job", () => {
      const told = hasEnded ? beforeItsEnd(whole) : whole;
      const { info } = readJob(told, door, apartOf(told), undefined);
      return readAttempt(info, { functionName: "", telemetry }).run;
    });
    return read === undefined ? fn() : insideTask(read.origin, read.attempt, telemetry, fn);
  };
}

// BullMQ fails a job whose result it cannot write as JSON, with the error of that; its attempt fails with the same.
function checkResult(value: unknown): void {
  if (typeof value === "object" || typeof value === "bigint") JSON.stringify(value);
}

function isIgnored(job: ProcessedJob, door: Door): boolean {
  return door.ignore?.(viewOf(job)) === true;
}
