import { type JudgedJob, toldOf } from "../adapters/bullmq-verdict.js";
import type { Door } from "../adapters/door.js";
import { carryAttempt, continueAttempt } from "../core/continue.js";
import { noteAttempt } from "../core/job-attempts.js";
import type { Carrier } from "../core/types.js";
import { fieldsOf } from "../core/wire.js";
import { type Gate, wrapMethod } from "./patch.js";

/** The key of a job, on its way to a sandbox, under which the attempt goes along. */
const ATTEMPT_KEY = "otel-taskflow-attempt";

/** A job that is about to go to a sandbox. */
interface SandboxedJob {
  /** Makes what is sent there: seen in BullMQ 5.0, 5.81 and 6.7. */
  asJSONSandbox?: (() => object) | undefined;
}

/** What BullMQ runs a processor file with, inside of the sandbox. */
interface ChildProcessor {
  /** The file's function, once it is loaded: seen in BullMQ 5.0, 5.81 and 6.7. */
  processor?: Processor | undefined;
}

type Processor = (job: SandboxJob, ...rest: never[]) => unknown;

/** A job as a processor file gets it. */
type SandboxJob = JudgedJob & { [ATTEMPT_KEY]?: unknown };

/** Processors that continue attempts. */
const continuing = new WeakSet<Processor>();

/** Runs `call`, within which a worker sends the job to a sandbox: the running attempt goes along with it. */
export async function carryingTo(job: SandboxedJob, call: () => unknown): Promise<unknown> {
  const { asJSONSandbox } = job;
  if (asJSONSandbox === undefined) return await call();
  const carrier = carryAttempt();
  const value = (): object => ({ ...asJSONSandbox.call(job), [ATTEMPT_KEY]: carrier });
  Object.defineProperty(job, "asJSONSandbox", { value, configurable: true });
  try {
    return await call();
  } finally {
    delete job.asJSONSandbox;
  }
}

/**
 * Has a sandbox, in the process or thread that it is, continue the attempts that its jobs bring with them. Its parent
 * owns them, so nothing is counted here. A job that brings none runs as before.
 */
export function patchSandbox(module: object, gate: Gate): void {
  wrapMethod(fieldsOf(module).ChildProcessor, "start", gate, (original, door) => {
    return function (this: ChildProcessor, ...given) {
      const { processor } = this;
      if (typeof processor === "function" && !continuing.has(processor)) this.processor = continues(processor, door);
      return original.apply(this, given);
    };
  });
}

function continues(processor: Processor, door: () => Door | undefined): Processor {
  const run: Processor = async (job, ...rest) => {
    const { [ATTEMPT_KEY]: carrier } = job;
    delete job[ATTEMPT_KEY];
    const own = door();
    if (own === undefined || carrier === undefined) return await processor(job, ...rest);
    const { tracerProvider, loggerProvider, logs, onLog } = own.telemetry;
    try {
      // what came from the parent is read as anything that comes from a queue
      const info = { carrier: carrier as Carrier, tracerProvider, loggerProvider, logs, onLog };
      return await continueAttempt(info, () => {
        noteAttempt(job);
        return processor(job, ...rest);
      });
    } catch (error) {
      throw toldOf(job, error);
    }
  };
  continuing.add(run);
  return run;
}
