import { attemptRunner } from "../../core/attempt.js";
import { checkFunction, checkKeys, checkText, namesOf } from "../../core/checks.js";
import { getTaskContext } from "../../core/context.js";
import { isNonRetryableError } from "../../core/errors.js";
import { quietly, safely } from "../../core/guard.js";
import { TELEMETRY_KEYS } from "../../core/info-keys.js";
import { passOnAbort } from "../../core/pass-on-abort.js";
import { isStorable, storable } from "../../core/text.js";
import type { AttemptInfo, TaskTelemetryOptions } from "../../core/types.js";
import { ENVELOPE_KEY } from "../envelope.js";
import { attemptOf, BULLMQ, type BullmqJob, dueAtOf, isRedelivered, labelOf, maxAttemptsOf, UNNAMED } from "./job.js";
import { giveUp, type JudgedJob, UNRECOVERABLE, type Verdict, verdictOf } from "./verdict.js";

export interface BullmqTaskOptions extends TaskTelemetryOptions {
  /** The task's name. Default: each job's own. */
  readonly name?: string | undefined;
}

const KEYS = namesOf<BullmqTaskOptions>({ ...TELEMETRY_KEYS, name: true });

interface TaskJob extends BullmqJob, JudgedJob {
  readonly queueName?: string | undefined;
}

/** How a processor ended that threw. */
interface Failure {
  /** For BullMQ. */
  readonly error: unknown;
  readonly verdict: Verdict;
}

/** What BullMQ calls a processor with besides the job. */
type BullmqRest = [token?: string, signal?: AbortSignal];

type Processor = (this: unknown, job: TaskJob, token?: string, signal?: AbortSignal) => unknown;

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
  checkKeys("withTask()", options, KEYS);
  const { name, ...telemetry } = options;
  if (name !== undefined) checkText("name", name);
  // BullMQ calls with a job, a token and perhaps a signal, whatever a processor declares
  const process = processor as unknown as Processor;
  const runAttempt = attemptRunner(process.name, telemetry);
  // BullMQ calls a processor as a method of its Worker
  const run: Processor = async function (job, token, signal) {
    let failure: Failure | undefined;
    const call = async (): Promise<unknown> => {
      const task = getTaskContext();
      if (signal !== undefined && task !== undefined) passOnAbort(signal, task, "the worker cancelled the job");
      try {
        return await process.call(this, job, token, signal);
      } catch (error) {
        failure = await failureOf(job, error);
        throw error;
      }
    };
    try {
      return await runAttempt(
        infoOf(job, name, () => failure?.verdict),
        call,
      );
    } catch (error) {
      throw failure === undefined ? error : failure.error;
    }
  };
  Object.defineProperty(run, "length", { value: process.length });
  return run as unknown as typeof processor;
}

function infoOf(job: TaskJob, name: string | undefined, verdict: () => Verdict): AttemptInfo {
  const { id, opts, queueName } = job;
  return {
    engine: BULLMQ,
    system: BULLMQ,
    destination: queueName,
    taskId: labelOf(id),
    funcName: name ?? labelOf(job.name) ?? UNNAMED,
    carrier: opts[ENVELOPE_KEY],
    attempt: attemptOf(job),
    maxAttempts: maxAttemptsOf(job),
    dueAt: dueAtOf(job),
    redelivered: isRedelivered(job),
    deferIf: () => verdict() === "deferred",
    giveUpIf: () => verdict() === "failure",
  };
}

async function failureOf(job: TaskJob, thrown: unknown): Promise<Failure> {
  const error = thrownTo(job, thrown);
  return { error, verdict: await quietly("foreseeing what BullMQ does", () => verdictOf(job, error), undefined) };
}

// What a worker gets instead of what was thrown, where it would do the wrong thing with that.
function thrownTo(job: TaskJob, thrown: unknown): unknown {
  // a worker that reads properties of these leaves the job active for ever
  if (thrown === undefined || thrown === null) return new Error(`the processor threw ${thrown}`);
  const error = safely("reading an error", () => storableError(thrown), thrown);
  if (!isNonRetryableError(error) || giveUp(job, error)) return error;
  if (job.getState === undefined) return unrecoverable(error);
  // of this copy of the job alone, which the worker is about to ask whether attempts are left
  job.opts.attempts = job.attemptsMade + 1;
  return error;
}

// A store may refuse the text of an error, and the job would then end again and again.
function storableError(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const { name, message, stack = "" } = thrown;
  if ([message, stack].every((text) => typeof text !== "string" || isStorable(text))) return thrown;
  const texts = { name, message: storable(String(message)), stack: storable(String(stack)) };
  return Object.assign(Object.create(thrown), texts);
}

// Out of a sandbox, a worker gets copies of errors, and knows them by their names.
function unrecoverable(error: Error): Error {
  const copy = Object.defineProperties(new Error(), Object.getOwnPropertyDescriptors(error));
  return Object.defineProperty(copy, "name", { value: UNRECOVERABLE });
}
