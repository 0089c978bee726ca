import { diag } from "@opentelemetry/api";
import { SCOPE_NAME } from "./semconv.js";
import { isThenable } from "./thenable.js";

const logger = diag.createComponentLogger({ namespace: SCOPE_NAME });

/** Runs telemetry or a user's hook: what it throws goes to diag, and `otherwise` is returned. */
export function safely<T>(what: string, run: () => T, otherwise: T): T {
  try {
    return run();
  } catch (error) {
    warn(`${what} threw`, error);
    return otherwise;
  }
}

/** {@link safely} for what may be awaited. */
export async function quietly<T>(what: string, run: () => T | Promise<T>, otherwise: T): Promise<T> {
  try {
    return await run();
  } catch (error) {
    warn(`${what} failed`, error);
    return otherwise;
  }
}

/** Asks a user's predicate: one that throws, or answers by a promise, is told to diag and counts as `otherwise`. */
export function ask(what: string, predicate: () => unknown, otherwise: boolean): boolean {
  const answer = atOnce(what, predicate);
  return answer === undefined ? otherwise : Boolean(answer.value);
}

/** {@link safely} for what has to answer at once: an answer by a promise is told to diag, and is none. */
export function atOnce<T>(what: string, run: () => T): { readonly value: T } | undefined {
  return safely(what, () => answerOf(what, run()), undefined);
}

function answerOf<T>(what: string, value: T): { readonly value: T } | undefined {
  if (!isThenable(value)) return { value };
  warn(`${what} returned a promise, and has to answer at once`);
  Promise.resolve(value).catch((error: unknown) => warn(`${what} rejected`, error));
  return undefined;
}

export function warn(message: string, ...details: unknown[]): void {
  tell("warn", message, details);
}

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
