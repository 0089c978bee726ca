import { isNonRetryableError, isTaskLostError } from "./errors.js";
import { ask } from "./guard.js";
import type { TaskContext } from "./types.js";

/** A task's policy of retries. Times are in milliseconds. */
export interface RetryPolicy {
  /** The wait before retry 1. */
  readonly delay: number;
  /** The factor from one wait to the next, at least 1. */
  readonly backoff: number;
  readonly maxDelay: number;
  /** 0 to 1: the share of the wait that is left to chance. */
  readonly jitter: number;
  readonly retryIf: ((error: unknown, context: TaskContext) => boolean) | undefined;
}

/**
 * The meaning of a failure: `retry` runs again (after `delay` ms, where known), `failure` gives up, `error` is unknown.
 */
export type RetryDecision =
  | { readonly outcome: "retry"; readonly delay: number | undefined }
  | { readonly outcome: "failure" | "error" };

/** Decides by a task's policy. */
export function decideRetry(policy: RetryPolicy, error: unknown, context: TaskContext): RetryDecision {
  const decision = attemptsLeft(error, context);
  if (decision.outcome !== "retry") return decision;
  const { retryIf } = policy;
  const wanted = retryIf === undefined || ask("retryIf", () => retryIf(error, context), true);
  return wanted ? { outcome: "retry", delay: retryDelay(policy, context.attempt + 1) } : { outcome: "failure" };
}

/** Decides by the number of attempts alone, where an engine has the policy. */
export function attemptsLeft(error: unknown, { attempt, maxAttempts }: TaskContext): RetryDecision {
  if (isNonRetryableError(error) || isTaskLostError(error)) return { outcome: "failure" };
  if (maxAttempts === undefined) return { outcome: "error" };
  return attempt + 1 < maxAttempts ? { outcome: "retry", delay: undefined } : { outcome: "failure" };
}

// The wait before retry k is delay × backoff^(k−1), capped; jitter j then takes up to the share j of it away.
function retryDelay({ delay, backoff, maxDelay, jitter }: RetryPolicy, retry: number): number {
  const wait = delay === 0 ? 0 : Math.min(delay * backoff ** (retry - 1), maxDelay);
  return wait * (1 - jitter * Math.random());
}
