import { describeException } from "../../core/exception.js";
import { safely } from "../../core/guard.js";
import { storable } from "../../core/text.js";

/** Errors that a failed task keeps below the one that was thrown. */
const MAX_CAUSES = 4;

/** What a failed task keeps of an error: no more than this, and each text bounded, well-formed and without NUL. */
export interface FailureOutput {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: FailureOutput;
}

/** Reads what was thrown, whatever it is. Never throws. */
export function failureOutput(error: unknown, causes: number = MAX_CAUSES): FailureOutput {
  const { type, message, stack } = describeException(error);
  const cause = causes === 0 ? undefined : causeOf(error);
  return {
    name: storable(type),
    message: storable(message),
    ...(stack !== undefined && { stack: storable(stack) }),
    ...(cause !== undefined && { cause: failureOutput(cause, causes - 1) }),
  };
}

function causeOf(error: unknown): unknown {
  const read = (): unknown => (error as { cause?: unknown } | null | undefined)?.cause;
  return safely("reading the cause of what was thrown", read, undefined);
}
