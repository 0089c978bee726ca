import { describeException } from "../../core/exception.js";
import { safely } from "../../core/guard.js";

/**
 * What a failed job keeps as its output: the error's name, message and stack, its own properties as JSON, and its
 * cause. Of something thrown that is no object, the value. Never throws, whatever was thrown.
 */
export function failureOutput(error: unknown): Record<string, unknown> {
  const { type, message, stack } = describeException(error);
  const isObject = typeof error === "object" && error !== null;
  const own = safely("reading what was thrown", () => asJson(isObject ? error : { value: error }), {});
  const cause = safely(
    "reading the cause of what was thrown",
    () => (error as { cause?: unknown } | null)?.cause,
    undefined,
  );
  return {
    ...own,
    name: type,
    message,
    ...(stack !== undefined && { stack }),
    ...(cause !== undefined && { cause: describeException(cause) }),
  };
}

function asJson(value: object): object {
  return JSON.parse(JSON.stringify(value)) as object;
}
