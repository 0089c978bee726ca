import { clip, textOf } from "./fields.js";
import { safely } from "./guard.js";
import { ERROR_TYPE_OTHER } from "./semconv.js";
import { isStorable, storable } from "./text.js";

/** Something thrown, as bounded text that is well-formed and without NUL, so that every store and backend takes it. */
export interface ExceptionText {
  /** `error.name` of an Error, `_OTHER` for anything else. */
  readonly type: string;
  readonly message: string;
  readonly stack: string | undefined;
}

/** Describes anything that was thrown, `undefined` and hostile proxies included. Never throws. */
export function describeException(error: unknown): ExceptionText {
  try {
    const { name, message, stack } = Object(error) as Partial<Error>;
    const isError = error instanceof Error || hasErrorShape(error);
    // of an object that is no Error, libraries store this
    if (isError || typeof message === "string") {
      const type = isError && typeof name === "string" && name !== "" ? shown(name) : ERROR_TYPE_OTHER;
      return { type, message: shown(message), stack: isError && stack ? shown(stack) : undefined };
    }
  } catch {
    // an error that cannot be read is described below, like any other value
  }
  return { type: ERROR_TYPE_OTHER, message: shown(error), stack: undefined };
}

/**
 * The very value that was thrown, where a library can keep what it reads of it; else an Error that says the same as far
 * as it can be stored, of the same class where it had one, with the value for its `cause`. For libraries whose database
 * refuses a text, and with it the end of the job, or that take a falsy value for success. `thrower` names who threw
 * what is no Error. Never throws.
 */
export function storableError(thrown: unknown, thrower: string): unknown {
  if (thrown && safely("reading an error", () => isStorableError(thrown), false)) return thrown;
  const { type, message, stack } = describeException(thrown);
  if (type === ERROR_TYPE_OTHER) return new Error(`${thrower} threw ${message || '""'}`, { cause: thrown });
  const own = { name: type, message: message || type, stack, cause: thrown };
  // properties are defined, because those that a prototype has frozen, or has a getter for, cannot be assigned
  return Object.create(Object(thrown), Object.getOwnPropertyDescriptors(own));
}

// It reads the properties that libraries read, and throws where they would.
function isStorableError(thrown: unknown): boolean {
  // Object() makes an object of a value of any kind, whose properties are unknown
  const { message, stack } = Object(thrown) as { message?: unknown; stack?: unknown };
  return isStorable(`${message || String(thrown)}`) && isStorable(String(stack));
}

// Errors of another realm (vm, worker, jest) are not instances of this realm's Error.
function hasErrorShape(error: unknown): error is Error {
  return Object.prototype.toString.call(error) === "[object Error]";
}

function shown(value: unknown): string {
  return storable(clip(textOf(value)));
}
