import { clip, textOf } from "./fields.js";
import { ERROR_TYPE_OTHER } from "./semconv.js";
import { storable } from "./text.js";

/** Something thrown, as bounded text that is well-formed and without NUL, so that every store and backend takes it. */
export interface ExceptionText {
  /** `error.name` of an Error, `_OTHER` for anything else. */
  readonly type: string;
  readonly message: string;
  readonly stack: string | undefined;
}

/** Never throws: any value is fine, `undefined` and hostile proxies included. */
export function describeException(error: unknown): ExceptionText {
  try {
    if (error instanceof Error || hasErrorShape(error)) {
      const { name, message, stack } = error;
      return {
        type: textOrOther(name),
        message: shown(message),
        stack: stack ? shown(stack) : undefined,
      };
    }
  } catch {
    // falls through: an error that cannot be read is described like any other value
  }
  return { type: ERROR_TYPE_OTHER, message: shown(error), stack: undefined };
}

// Errors of another realm (vm, worker, jest) are not instances of this realm's Error.
function hasErrorShape(error: unknown): error is Error {
  return Object.prototype.toString.call(error) === "[object Error]";
}

function textOrOther(name: unknown): string {
  return typeof name === "string" && name !== "" ? shown(name) : ERROR_TYPE_OTHER;
}

function shown(value: unknown): string {
  return storable(clip(textOf(value)));
}
