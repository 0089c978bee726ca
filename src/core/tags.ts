import { TaskConfigError } from "./errors.js";
import type { TaskTags } from "./types.js";

const MAX_TAGS = 16;
const MAX_VALUE_CHARACTERS = 256;
const MAX_ENCODED_BYTES = 2048;
const KEY = /^[A-Za-z0-9_.-]{1,64}$/;

/** The tags of every task that was given none. */
export const NO_TAGS: TaskTags = Object.freeze({});

/**
 * A frozen copy of a task's tags.
 *
 * @throws TaskConfigError naming the tag and the rule it breaks.
 */
export function copyTags(tags: unknown): TaskTags {
  if (tags === undefined) return NO_TAGS;
  const entries = entriesOf(tags);
  if (entries.length === 0) return NO_TAGS;
  if (entries.length > MAX_TAGS) {
    throw new TaskConfigError(`tags: expected at most ${MAX_TAGS} tags, received ${entries.length}`);
  }
  let bytes = 0;
  for (const [key, value] of entries) bytes += encodedBytes(key, value);
  if (bytes > MAX_ENCODED_BYTES) {
    throw new TaskConfigError(
      `tags: expected at most ${MAX_ENCODED_BYTES} bytes once percent-encoded, received ${bytes} ` +
        `(tags ${entries.map(([key]) => `"${key}"`).join(", ")})`,
    );
  }
  // fromEntries defines keys instead of assigning them, so a tag named __proto__ is a tag like any other
  return Object.freeze(Object.fromEntries(entries) as Record<string, string>);
}

function entriesOf(tags: unknown): [string, unknown][] {
  try {
    if (typeof tags === "object" && tags !== null && !Array.isArray(tags) && !(tags instanceof Map)) {
      return Object.entries(tags);
    }
  } catch (cause) {
    throw new TaskConfigError("tags: expected an object of strings, received one that cannot be read", { cause });
  }
  throw new TaskConfigError(`tags: expected an object of strings, received ${kindOf(tags)}`);
}

function encodedBytes(key: string, value: unknown): number {
  if (!KEY.test(key)) {
    throw new TaskConfigError(`tag ${JSON.stringify(key.slice(0, 80))}: expected a key matching ${KEY.source}`);
  }
  if (typeof value !== "string") {
    throw new TaskConfigError(`tag "${key}": expected a string, received ${kindOf(value)}`);
  }
  if (value.length > MAX_VALUE_CHARACTERS && [...value].length > MAX_VALUE_CHARACTERS) {
    throw new TaskConfigError(`tag "${key}": expected at most ${MAX_VALUE_CHARACTERS} characters`);
  }
  try {
    return key.length + encodeURIComponent(value).length;
  } catch {
    throw new TaskConfigError(`tag "${key}": expected well-formed Unicode, received a lone surrogate`);
  }
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (value instanceof Map) return "a Map (use Object.fromEntries)";
  return typeof value;
}
