import { attemptRunner } from "../../core/attempt.js";
import { checkFunction, checkObject, checkText } from "../../core/checks.js";
import { getTaskContext } from "../../core/context.js";
import { isNonRetryableError } from "../../core/errors.js";
import { passOnAbort } from "../../core/pass-on-abort.js";
import type { AttemptInfo, TaskTelemetryOptions } from "../../core/types.js";
import { ENVELOPE_KEY } from "../envelope.js";
import { BULLMQ, type BullmqJob, dueAtOf, labelOf, maxAttemptsOf, UNNAMED } from "./job.js";

export interface BullmqTaskOptions extends TaskTelemetryOptions {
  /** The task's name. Default: each job's own. */
  readonly name?: string | undefined;
}

interface TaskJob extends BullmqJob {
  readonly queueName?: string | undefined;
  /** BullMQ 5: `discard()` was called. */
  readonly discarded?: boolean | undefined;
  /** Jobs in a sandbox have no such method. */
  readonly getState?: unknown;
}

/** What BullMQ calls a processor with besides the job. */
type BullmqRest = [token?: string, signal?: AbortSignal];

type Processor = (job: TaskJob, token?: string, signal?: AbortSignal) => unknown;

const DEFERRALS: readonly unknown[] = ["DelayedError", "WaitingError", "WaitingChildrenError"];
const RATE_LIMITED = "bullmq:rateLimitExceeded";
const UNRECOVERABLE = "UnrecoverableError";

/**
 * A processor whose jobs run as attempts: in their task's context, within a span that gets the outcome. It returns
 * and throws what the given one does, and takes as many parameters, by which BullMQ decides whether there is a
 * signal; that aborts the task's own signal as well, and how the job ends then is up to the processor.
 * `NonRetryableError` fails a job for good. Jobs that were added without tags get a context, too.
 *
 * @throws TaskConfigError for an option out of range.
 */
export function withTask<J extends BullmqJob, R, A extends BullmqRest = [token?: string]>(
  processor: (job: J, ...rest: A) => R,
  options: BullmqTaskOptions = {},
): (job: J, ...rest: A) => R {
  checkFunction("withTask(): its processor", processor);
  checkObject("withTask(): its options", options);
  const { name, ...telemetry } = options;
  if (name !== undefined) checkText("name", name);
  // BullMQ calls with a job, a token and perhaps a signal, whatever a processor declares
  const process = processor as unknown as Processor;
  const runAttempt = attemptRunner(process.name, telemetry);
  const run: Processor = async (job, token, signal) => {
    const call = (): unknown => {
      const task = getTaskContext();
      if (signal !== undefined && task !== undefined) passOnAbort(signal, task, "the worker cancelled the job");
      return process(job, token, signal);
    };
    try {
      return await runAttempt(attemptOf(job, name), call);
    } catch (error) {
      throw thrownTo(job, error);
    }
  };
  Object.defineProperty(run, "length", { value: process.length });
  return run as unknown as typeof processor;
}

function attemptOf(job: TaskJob, name: string | undefined): AttemptInfo {
  const { id, opts, attemptsMade, queueName, stalledCounter = 0 } = job;
  return {
    engine: BULLMQ,
    system: BULLMQ,
    destination: queueName,
    taskId: labelOf(id),
    funcName: name ?? labelOf(job.name) ?? UNNAMED,
    carrier: opts[ENVELOPE_KEY],
    attempt: attemptsMade,
    maxAttempts: maxAttemptsOf(job),
    dueAt: dueAtOf(job),
    // of a later attempt, a job does not say whether it was this one that was lost
    redelivered: attemptsMade === 0 && stalledCounter > 0,
    deferIf: isDeferral,
    giveUpIf: (error) => fieldOf(error, "name") === UNRECOVERABLE || job.discarded === true,
  };
}

function isDeferral(error: unknown): boolean {
  return DEFERRALS.includes(fieldOf(error, "name")) || fieldOf(error, "message") === RATE_LIMITED;
}

// What a worker gets instead of what was thrown, where it would do the wrong thing with that.
function thrownTo(job: TaskJob, error: unknown): unknown {
  // a worker that reads properties of these leaves the job active for ever
  if (error === undefined || error === null) return new Error(`the processor threw ${error}`);
  if (!isNonRetryableError(error)) return error;
  if (job.getState === undefined) return unrecoverable(error);
  // of this copy of the job alone, which the worker is about to ask whether attempts are left
  job.opts.attempts = job.attemptsMade + 1;
  return error;
}

// Out of a sandbox, a worker gets copies of errors, and knows them by their names.
function unrecoverable(error: Error): Error {
  const copy = Object.defineProperties(new Error(), Object.getOwnPropertyDescriptors(error));
  return Object.defineProperty(copy, "name", { value: UNRECOVERABLE });
}

function fieldOf(error: unknown, field: "name" | "message"): unknown {
  return typeof error === "object" && error !== null ? (error as Record<string, unknown>)[field] : undefined;
}
