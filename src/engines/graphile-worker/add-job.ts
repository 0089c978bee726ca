import { checkFunction, checkObject } from "../../core/checks.js";
import { enqueueTask } from "../../core/enqueue.js";
import type { ProducerOptions } from "../../core/types.js";
import { withCarrier } from "./carried-flags.js";

import { GRAPHILE_WORKER, type GraphileJob, type GraphileJobSpec } from "./graphile.js";

/** graphile-worker's `WorkerUtils`, `JobHelpers` or `Runner`, or anything else that adds jobs. */
export interface GraphileJobAdder<J> {
  addJob(identifier: string, payload: unknown, spec?: GraphileJobSpec): Promise<J>;
}

/** What a job can be told besides graphile-worker's own `TaskSpec`. */
export type GraphileJobOptions = ProducerOptions;

/**
 * Adds a job as a task: an enqueue span around `utils.addJob`, and a carrier for `withTask` in a flag of the job; the
 * payload is stored as it is. Resolves to what `utils.addJob` resolves to; what it throws comes through untouched.
 *
 * @throws TaskConfigError for an illegal tag or option; nothing was added.
 */
export async function addJob<J>(
  utils: GraphileJobAdder<J>,
  identifier: string,
  payload: unknown,
  spec: GraphileJobSpec & GraphileJobOptions = {},
): Promise<J> {
  checkObject("addJob(): its first argument", utils);
  checkFunction("addJob(): the addJob of its first argument", utils.addJob);
  checkObject("addJob(): its spec", spec);
  const { tags, relation, baggage, tracerProvider, meterProvider, ...jobSpec } = spec;
  const { runAt, maxAttempts } = jobSpec;
  const options = { tags, relation, baggage, tracerProvider, meterProvider, maxAttempts };
  return await enqueueTask(
    { ...options, funcName: identifier, delay: delayUntil(runAt), engine: GRAPHILE_WORKER, system: GRAPHILE_WORKER },
    (carrier) => utils.addJob(identifier, payload, withCarrier(jobSpec, carrier)),
    { idOf: (job) => idOf(stored(job)), isStored: (job) => !stored(job).revision },
  );
}

// What is no date is for graphile-worker to refuse.
function delayUntil(runAt: Date | undefined): number {
  return runAt instanceof Date ? Math.max(0, runAt.getTime() - Date.now()) || 0 : 0;
}

function idOf({ id }: Partial<GraphileJob>): string | undefined {
  return id === undefined ? undefined : String(id);
}

// Whatever stands in for graphile-worker's utils may return anything.
function stored(job: unknown): Partial<GraphileJob> {
  return typeof job === "object" && job !== null ? job : {};
}
