import { diag } from "@opentelemetry/api";
import { SCOPE_NAME } from "./semconv.js";
import { isThenable } from "./thenable.js";

const logger = diag.createComponentLogger({ namespace: SCOPE_NAME });

/** Runs telemetry or a user's hook. What it throws is told to diag, and `otherwise` is returned, or nothing. */
export function safely<T>(what: string, run: () => T, otherwise: T): T;
export function safely<T>(what: string, run: () => T): T | undefined;
export function safely<T>(what: string, run: () => T, otherwise?: T): T | undefined {
  try {
    return run();
  } catch (error) {
    warn(`${what} threw`, error);
    return otherwise;
  }
}

/** Does the same as {@link safely} for a function that may return a promise. */
export async function quietly<T>(what: string, run: () => T | Promise<T>, otherwise: T): Promise<T>;
export async function quietly<T>(what: string, run: () => T | Promise<T>): Promise<T | undefined>;
export async function quietly<T>(what: string, run: () => T | Promise<T>, otherwise?: T): Promise<T | undefined> {
  try {
    return await run();
  } catch (error) {
    warn(`${what} failed`, error);
    return otherwise;
  }
}

/** Asks a user's predicate. One that throws, or answers by a promise, is told to diag, and `otherwise` is returned. */
export function ask(what: string, predicate: () => unknown, otherwise: boolean): boolean {
  const answer = atOnce(what, predicate);
  return answer === undefined ? otherwise : Boolean(answer.value);
}

/**
 * Runs a user's function that has to answer at once. `undefined` where it throws or returns a promise, told to diag.
 */
export function atOnce<T>(what: string, run: () => T): { readonly value: T } | undefined {
  return safely(what, () => answerOf(what, run()));
}

function answerOf<T>(what: string, value: T): { readonly value: T } | undefined {
  if (!isThenable(value)) return { value };
  warn(`${what} returned a promise, and has to answer at once`);
  Promise.resolve(value).catch((error: unknown) => warn(`${what} rejected`, error));
  return undefined;
}

/** Tells diag of something that went wrong. Never throws. */
export function warn(message: string, ...details: unknown[]): void {
  tell("warn", message, details);
}

/** Tells diag of something worth knowing only when one looks for it. Never throws. */
export function debug(message: string, ...details: unknown[]): void {
  tell("debug", message, details);
}

function tell(level: "warn" | "debug", message: string, details: unknown[]): void {
  try {
    logger[level](message, ...details);
  } catch {
    // a diag logger that throws has no one left to tell
  }
}
