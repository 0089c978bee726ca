import {
  type Carrier,
  getTaskContext,
  isNonRetryableError,
  NonRetryableError,
  runAttempt,
  taskLog,
} from "otel-taskflow";

/** What goes to the other side: everything in it can be cloned. */
export interface Job {
  readonly carrier: Carrier;
  /** Zero-based. */
  readonly attempt: number;
  readonly dueAt: number;
  readonly width: number;
}

/** What comes back. An error loses its class on the way, so whether to try again is decided before. */
export type Reply = { readonly job: Job } & (
  | { readonly result: string }
  | { readonly error: string; readonly giveUp: boolean }
);

/** The other side: runs one attempt, and tells how it ended. */
export async function runJob(job: Job): Promise<Reply> {
  const { carrier, attempt, dueAt, width } = job;
  try {
    return { job, result: await runAttempt({ carrier, attempt, dueAt }, () => resize(width)) };
  } catch (error) {
    return { job, error: String(error), giveUp: isNonRetryableError(error) };
  }
}

function resize(width: number): string {
  const task = getTaskContext();
  taskLog("resizing", { width, plan: task?.tags.plan });
  if (width <= 0) throw new NonRetryableError("the width has to be positive");
  if (task?.attempt === 0) throw new Error("out of memory");
  return `${width} pixels wide by attempt ${task?.attempt}`;
}
