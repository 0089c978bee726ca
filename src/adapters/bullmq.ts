import { checkFunction, checkKeys, checkText, namesOf } from "../core/checks.js";
import { TELEMETRY_KEYS } from "../core/info-keys.js";
import type { TaskTelemetryOptions } from "../core/types.js";
import type { BullmqJob } from "../engines/bullmq/stored-task.js";
import { processorOf } from "./bullmq-run.js";

export {
  addFlow,
  addJob,
  addJobs,
  type BullmqAddedJob,
  type BullmqBulkItem,
  type BullmqBulkJob,
  type BullmqFlow,
  type BullmqFlowProducer,
  type BullmqJobOptions,
  type BullmqJobQueue,
} from "./bullmq-add.js";
export { carrierOf } from "./bullmq-carrier.js";

const KEYS = namesOf<BullmqTaskOptions>({ ...TELEMETRY_KEYS, name: true });

/** What all jobs of a processor have in common. */
export interface BullmqTaskOptions extends TaskTelemetryOptions {
  /** The task's name. Default: each job's own. An empty one is a `TaskConfigError`. */
  readonly name?: string | undefined;
}

/** What BullMQ calls a processor with besides the job. */
type BullmqRest = [token?: string, signal?: AbortSignal];

/**
 * Wraps a processor, so that each job runs as an attempt: in its task's context, within a span that gets the outcome.
 * The wrapped one returns what the processor does, and throws the very error, unless BullMQ's store could not keep it.
 * It takes as many parameters, by which BullMQ decides whether to pass a signal; that one aborts the task's signal as
 * well, and how the job then ends is up to the processor. A `NonRetryableError` fails the job for good. Jobs of any
 * producer are welcome: without a carrier they have no tags. Wrapped twice, a job is one attempt still, of the outermost
 * processor. A unit test may call it with any object for a job.
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
  // it passes on what `processor` is called with, and what that returns
  const process = processor as unknown as Parameters<typeof processorOf>[1];
  return processorOf({ telemetry }, process, name) as unknown as typeof processor;
}
