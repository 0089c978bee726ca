import { quoteKey, show } from "./checks.js";
import { TaskConfigError } from "./errors.js";
import { warn } from "./guard.js";
import { storable } from "./text.js";
import type { TaskTags } from "./types.js";
import { fieldsOf } from "./wire.js";

const MAX_TAGS = 16;
const MAX_VALUE = 1_024;
const KEY = /^[A-Za-z0-9_.-]{1,64}$/;

/** The tags of every task that was given none. */
export const NO_TAGS: TaskTags = Object.freeze({});

/**
 * Makes a frozen copy of a task's tags. A value stops no task: `undefined` and `null` are left out, numbers, BigInts
 * and booleans become text, characters that cannot be stored are replaced, and text longer than 1,024 UTF-16 code units
 * is cut. `told` hears the key of each tag that was cut.
 *
 * @throws TaskConfigError naming the tag and the rule it breaks.
 */
export function copyTags(tags: unknown, told: (key: string) => void = tellCut): TaskTags {
  if (tags === undefined) return NO_TAGS;
  const copy: Record<string, string> = {};
  let count = 0;
  const given = snapshotOf(tags);
  for (const key of Object.keys(given)) {
    const value = given[key];
    if (value === undefined || value === null) continue;
    checkKey(key);
    const text = textOfTag(key, value);
    if (text.length > MAX_VALUE) told(key);
    // a tag of this name is one like any other, and cannot be assigned
    if (key === "__proto__") Object.defineProperty(copy, key, { enumerable: true, writable: true });
    copy[key] = storable(text, MAX_VALUE);
    count += 1;
  }
  if (count === 0) return NO_TAGS;
  if (count > MAX_TAGS) throw new TaskConfigError(`tags: expected at most ${MAX_TAGS}, received ${count}`);
  return Object.freeze(copy);
}

// What the caller's object says may change, or be an accessor's: it is read once. Entries would take seven times as long.
function snapshotOf(tags: unknown): Record<string, unknown> {
  try {
    if (kindOf(tags) === "an object") return { ...fieldsOf(tags) };
  } catch (cause) {
    throw new TaskConfigError("tags: expected a readable object", { cause });
  }
  throw new TaskConfigError(`tags: expected an object, received ${kindOf(tags)}`);
}

function checkKey(key: string): void {
  if (KEY.test(key)) return;
  throw new TaskConfigError(`tag ${quoteKey(key)}: expected a key of 1 to 64 letters, digits, "_", "." or "-"`);
}

function textOfTag(key: string, value: unknown): string {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "bigint":
    case "boolean":
      return String(value);
    default:
      throw new TaskConfigError(`tag "${key}": expected a string, a number or a boolean, received ${kindOf(value)}`);
  }
}

function tellCut(key: string): void {
  warn(`a task's tag "${key}" is too long and was cut`);
}

function kindOf(value: unknown): string {
  if (value instanceof Map) return "a Map (use Object.fromEntries)";
  return ArrayBuffer.isView(value) ? "binary data" : show(value);
}
