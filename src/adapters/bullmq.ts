import { boundedName } from "../core/bounded-name.js";
import { checkFunction, checkKeys, checkText, namesOf } from "../core/checks.js";
import { type HandledJob, handlerRunner, type Verdict } from "../core/handler.js";
import { TELEMETRY_KEYS } from "../core/info-keys.js";
import type { TaskTelemetryOptions } from "../core/types.js";
import { fieldsOf } from "../core/wire.js";
import {
  attemptOf,
  BULLMQ,
  type BullmqJob,
  carrierIn,
  dueAtOf,
  isRedelivered,
  labelOf,
  maxAttemptsOf,
  routeOf,
  UNNAMED,
} from "../engines/bullmq/stored-task.js";
import { type JudgedJob, toldOf, verdictOf } from "./bullmq-verdict.js";

export {
  addJob,
  addJobs,
  type BullmqAddedJob,
  type BullmqBulkItem,
  type BullmqBulkJob,
  type BullmqJobOptions,
  type BullmqJobQueue,
} from "./bullmq-add.js";

const CANCELLED = "the worker cancelled the job";

const KEYS = namesOf<BullmqTaskOptions>({ ...TELEMETRY_KEYS, name: true });

/** What all jobs of a processor have in common. */
export interface BullmqTaskOptions extends TaskTelemetryOptions {
  /** The task's name. Default: each job's own. An empty one is a `TaskConfigError`. */
  readonly name?: string | undefined;
}

/** A job as a worker hands it to a processor. */
interface ProcessedJob extends JudgedJob {
  readonly queueName?: string | undefined;
}

/** What BullMQ calls a processor with besides the job. */
type BullmqRest = [token?: string, signal?: AbortSignal];

type Processor = (this: unknown, job: ProcessedJob, token?: string, signal?: AbortSignal) => unknown;

/**
 * Wraps a processor, so that each job runs as an attempt: in its task's context, within a span that gets the outcome.
 * The wrapped one returns what the processor does, and throws the very error, unless BullMQ's store could not keep it.
 * It takes as many parameters, by which BullMQ decides whether to pass a signal; that one aborts the task's signal as
 * well, and how the job then ends is up to the processor. A `NonRetryableError` fails the job for good. Jobs of any
 * producer are welcome: without a carrier they have no tags.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function withTask<J extends BullmqJob, R, A extends BullmqRest = [token?: string]>(
  processor: (job: J, ...rest: A) => R,
  options: BullmqTaskOptions = {},
): (job: J, ...rest: A) => R {
  checkFunction("withTask(): its processor", processor);
  checkKeys("withTask()", options, KEYS);
  const { name, ...telemetry } = options;
  if (name !== undefined) checkText("name", name);
  // BullMQ calls it with a job, a token and perhaps a signal, whatever it declares, as a method of the worker
  const process = processor as unknown as Processor;
  const runHandler = handlerRunner(process.name, telemetry);
  const run: Processor = async function (job, token, signal) {
    let told: unknown;
    const foresee = (thrown: unknown): Promise<Verdict> => {
      told = toldOf(job, thrown);
      return verdictOf(job, told);
    };
    const stop = signal && { signal, message: CANCELLED };
    const call = (): unknown => process.call(this, job, token, signal);
    const info = attemptInfo(job, name);
    const bounded = name ?? boundedName(BULLMQ, job.queueName ?? BULLMQ, info.funcName);
    const label = bounded === info.funcName ? undefined : bounded;
    const { end } = await runHandler(info, call, { stop, foresee, wishes: { label, isScheduled: isScheduled(job) } });
    if (end.outcome === "success") return end.value;
    throw told ?? end.error;
  };
  Object.defineProperty(run, "length", { value: process.length });
  // it passes on what `processor` is called with, and what that returns
  return run as unknown as typeof processor;
}

function attemptInfo(job: ProcessedJob, name: string | undefined): HandledJob & { readonly funcName: string } {
  const { engine, system, destination } = routeOf(job.queueName);
  return {
    engine,
    system,
    destination,
    taskId: labelOf(job.id),
    funcName: name ?? labelOf(job.name) ?? UNNAMED,
    carrier: carrierIn(job),
    attempt: attemptOf(job),
    maxAttempts: maxAttemptsOf(job),
    dueAt: dueAtOf(job),
    redelivered: isRedelivered(job),
  };
}

// Both majors' schedulers leave their key with each job; version 5's repeatable jobs have the options as well.
function isScheduled({ repeatJobKey, opts }: ProcessedJob): boolean {
  return typeof repeatJobKey === "string" || fieldsOf(opts).repeat !== undefined;
}
