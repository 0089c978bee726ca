import { clip, textOf } from "./fields.js";
import { ERROR_TYPE_OTHER } from "./semconv.js";

/** Something thrown, as text. Any value is fine, `undefined` and hostile proxies included. */
export interface ExceptionText {
  /** `error.name` of an Error, `_OTHER` for anything else. */
  readonly type: string;
  readonly message: string;
  readonly stack: string | undefined;
}

export function describeException(error: unknown): ExceptionText {
  try {
    if (error instanceof Error || hasErrorShape(error)) {
      const { name, message, stack } = error;
      return {
        type: textOrOther(name),
        message: clip(textOf(message)),
        stack: stack ? clip(textOf(stack)) : undefined,
      };
    }
  } catch {
    // falls through: an error that cannot be read is described like any other value
  }
  return { type: ERROR_TYPE_OTHER, message: clip(textOf(error)), stack: undefined };
}

// Errors of another realm (vm, worker, jest) are not instances of this realm's Error.
function hasErrorShape(error: unknown): error is Error {
  return Object.prototype.toString.call(error) === "[object Error]";
}

function textOrOther(name: unknown): string {
  return typeof name === "string" && name !== "" ? clip(name) : ERROR_TYPE_OTHER;
}
