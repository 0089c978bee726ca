import { isNonRetryableError } from "./errors.js";
import { ask } from "./guard.js";
import type { TaskContext } from "./types.js";

/** When a failed attempt is followed by another. Times in milliseconds. */
export interface RetryPolicy {
  /** Wait before retry 1. */
  readonly delay: number;
  /** Factor from one wait to the next, ≥ 1. */
  readonly backoff: number;
  readonly maxDelay: number;
  /** 0 to 1: the share of the wait that is left to chance. */
  readonly jitter: number;
  readonly retryIf: ((error: unknown, context: TaskContext) => boolean) | undefined;
}

/** What a failure means: run again (after `delay` ms, where it is known), give up, or nobody here can know. */
export type RetryDecision =
  | { readonly outcome: "retry"; readonly delay: number | undefined }
  | { readonly outcome: "failure" | "error" };

/** The decision of a task's policy. */
export function decideRetry(policy: RetryPolicy, error: unknown, context: TaskContext): RetryDecision {
  const decision = attemptsLeft(error, context);
  if (decision.outcome !== "retry") return decision;
  const { retryIf } = policy;
  const wanted = retryIf === undefined || ask("retryIf", () => retryIf(error, context), true);
  return wanted ? { outcome: "retry", delay: retryDelay(policy, context.attempt + 1) } : { outcome: "failure" };
}

/** The decision where an engine has the policy, and only the number of attempts can be known. */
export function attemptsLeft(error: unknown, { attempt, maxAttempts }: TaskContext): RetryDecision {
  if (isNonRetryableError(error)) return { outcome: "failure" };
  if (maxAttempts === undefined) return { outcome: "error" };
  return attempt + 1 < maxAttempts ? { outcome: "retry", delay: undefined } : { outcome: "failure" };
}

// delay × backoff^(k−1), capped, then spread downwards: with jitter j between (1−j) and 1 times the wait.
function retryDelay({ delay, backoff, maxDelay, jitter }: RetryPolicy, retry: number): number {
  const wait = delay === 0 ? 0 : Math.min(delay * backoff ** (retry - 1), maxDelay);
  return wait * (1 - jitter * Math.random());
}
