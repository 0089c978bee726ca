import type { TaskRoute } from "../../core/attributes.js";
import { MAX_TEXT } from "../../core/checks.js";
import type { Carrier } from "../../core/types.js";
import { ENVELOPE_KEY } from "../envelope.js";

/** Value of `task.engine`, and of `messaging.system`: what BullMQ's own instrumentation goes by. */
export const BULLMQ = "bullmq";

/** For jobs without a name. */
export const UNNAMED = "unnamed";

/** The part of a job that is read; BullMQ 5, 6 and Pro have it, and jobs in a sandbox. */
export interface BullmqJob {
  readonly id?: string | undefined;
  readonly name: string;
  readonly data: unknown;
  opts: {
    readonly delay?: number | undefined;
    attempts?: number | undefined;
    readonly [ENVELOPE_KEY]?: Carrier | undefined;
  };
  /** Epoch milliseconds at which it was made. */
  readonly timestamp: number;
  /** Attempts that ended; what was lost to a crash is none of them. */
  readonly attemptsMade: number;
  /** How often it was taken from a worker that was gone. */
  readonly stalledCounter?: number | undefined;
}

export function routeOf(queue: string | undefined): TaskRoute {
  return { engine: BULLMQ, system: BULLMQ, destination: queue };
}

/** How often BullMQ runs a job at most, whatever its producer wrote there. */
export function maxAttemptsOf({ opts }: BullmqJob): number {
  return Math.min(Math.max(1, Math.ceil(Number(opts.attempts)) || 1), Number.MAX_SAFE_INTEGER);
}

/** When the first attempt became due, in epoch milliseconds; of a retry, a job does not say. */
export function dueAtOf({ attemptsMade, timestamp, opts }: BullmqJob): number | undefined {
  const due = timestamp + (opts.delay ?? 0);
  return attemptsMade === 0 && due > 0 ? due : undefined;
}

/** A name or id of BullMQ's as the core takes it: what is odd about one stops no job. */
export function labelOf(text: unknown): string | undefined {
  return typeof text === "string" && text !== "" ? text.slice(0, MAX_TEXT) : undefined;
}
