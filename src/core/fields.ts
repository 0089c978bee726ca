import type { Attributes, AttributeValue } from "@opentelemetry/api";
import { ATTR_TASK_LOG_LEVEL, ATTR_TASK_LOG_TRUNCATED } from "./semconv.js";
import { cut } from "./text.js";
import { fieldsOf } from "./wire.js";

/** Most characters of one value. */
const MAX_CHARACTERS = 8_192;
const MAX_ITEMS = 1_000;
const MAX_FIELDS = 64;
const MAX_KEY = 128;
/** Most characters of one line, its message, keys and values together. */
const MAX_LINE = 32_768;
/** Characters that a value without text counts for. */
const SIZE_OF_OTHERS = 8;
/** Integers up to here fit into the 64 bits that exporters have for them. */
const MAX_INTEGER = 1e18;
/** Larger numbers are not written down, because that would take too long. */
const HUGE = 10n ** 100n;
const UNREADABLE = "[unreadable]";
/** These names mean something else here. */
const RESERVED: readonly string[] = ["", "__proto__", ATTR_TASK_LOG_LEVEL, ATTR_TASK_LOG_TRUNCATED];
const RESERVED_OF_LINES: readonly string[] = [...RESERVED, "level"];

/** Named values, as `taskLog` takes them. */
export type Fields = Readonly<Record<string, unknown>>;

/** The characters that a line may still take, and whether the field at hand was cut for that. */
interface Room {
  left: number;
  cut: boolean;
}

/**
 * Adds the fields of one line as attributes, within the room that its message leaves. Where its level is among these
 * already, a field of that name is not another. Fields without a place are not read; those left out or cut to fit are
 * counted in an attribute of their own. Never throws.
 */
export function addFields(attributes: Attributes, fields: Fields, message: string): void {
  const reserved = ATTR_TASK_LOG_LEVEL in attributes ? RESERVED_OF_LINES : RESERVED;
  const room: Room = { left: MAX_LINE - Math.min(message.length, MAX_CHARACTERS), cut: false };
  let taken = 0;
  let truncated = 0;
  for (const name of keysOf(fields)) {
    if (reserved.includes(name)) continue;
    if (taken === MAX_FIELDS || room.left <= 0) {
      truncated += 1;
      continue;
    }
    room.cut = name.length > MAX_KEY;
    const value = toAttribute(readField(fields, name), room);
    if (value === undefined) continue;
    const key = room.cut ? cut(name, MAX_KEY) : name;
    attributes[key] = value;
    room.left -= key.length;
    taken += 1;
    if (room.cut) truncated += 1;
  }
  if (truncated > 0) attributes[ATTR_TASK_LOG_TRUNCATED] = truncated;
}

/** Returns the own keys of fields; none where they cannot be read. */
export function keysOf(fields: Fields): string[] {
  try {
    return Object.keys(fields);
  } catch {
    return [];
  }
}

/** Returns one field; where it cannot be read, a text that says so. */
export function readField(fields: Fields, key: string): unknown {
  try {
    return fields[key];
  } catch {
    return UNREADABLE;
  }
}

/** Writes any value as text. Never throws. */
export function textOf(value: unknown): string {
  try {
    if (typeof value === "bigint" && (value > HUGE || value < -HUGE)) return "[a bigint of more than 100 digits]";
    return String(value);
  } catch {
    return UNREADABLE;
  }
}

/** Cuts long text, by default at a limit that every backend accepts, and says in the text how much is missing. */
export function clip(text: string, most: number = MAX_CHARACTERS): string {
  if (text.length <= most) return text;
  const kept = cut(text, most);
  return `${kept}… (${text.length - kept.length} more characters)`;
}

// Primitives and arrays of one primitive type stay as they are, everything else becomes text, and `undefined` and
// `null` become no attribute. It never throws, whatever getters and proxies do.
function toAttribute(value: unknown, room: Room): AttributeValue | undefined {
  if (value === undefined || value === null) return undefined;
  switch (typeof value) {
    case "string":
      return take(value, room);
    case "number":
    case "boolean":
      if (!isSound(value)) break;
      room.left -= SIZE_OF_OTHERS;
      return value;
    case "object":
      return objectToAttribute(value, room);
  }
  return take(textOf(value), room);
}

function objectToAttribute(value: object, room: Room): AttributeValue {
  try {
    if (value instanceof Error) return take(`${value.name}: ${value.message}`, room);
    if (value instanceof Date) return take(Number.isNaN(value.getTime()) ? textOf(value) : value.toISOString(), room);
    if (ArrayBuffer.isView(value)) return take(bytesOf(value), room);
    const items = Array.isArray(value) ? firstOf(value, MAX_ITEMS) : undefined;
    if (items !== undefined && isUniform(items)) return takeItems(items, room);
    return take(JSON.stringify(items ?? value, plain()) ?? textOf(value), room);
  } catch {
    return take(UNREADABLE, room);
  }
}

function take(text: string, room: Room): string {
  const most = Math.min(MAX_CHARACTERS, Math.max(room.left, 0));
  room.left -= Math.min(text.length, most);
  if (text.length <= most) return text;
  // a value cut at the limit of one value says so in its own text
  if (most < MAX_CHARACTERS) room.cut = true;
  return clip(text, most);
}

// The items are of one primitive type, as isUniform found.
function takeItems(items: readonly (string | number | boolean)[], room: Room): AttributeValue {
  const taken: unknown[] = [];
  for (const item of items) {
    if (room.left <= 0) {
      room.cut = true;
      break;
    }
    taken.push(toAttribute(item, room));
  }
  // each is an item of that one type, cut to fit
  return taken as string[];
}

/** A copy of the first items of an array. They are read by index, because it may have an iterator of its own making. */
export function firstOf(array: readonly unknown[], most: number): unknown[] {
  return Array.from({ length: Math.min(array.length, most) }, (_, index) => array[index]);
}

function isUniform(items: readonly unknown[]): items is (string | number | boolean)[] {
  const kind = typeof items[0];
  return ["string", "number", "boolean"].includes(kind) && items.every((item) => typeof item === kind && isSound(item));
}

// Exporters write NaN as null, and larger integers digit by digit: a collector refuses all that is sent with one.
function isSound(value: unknown): boolean {
  return typeof value !== "number" || Math.abs(value) < MAX_INTEGER;
}

function bytesOf({ byteLength }: ArrayBufferView): string {
  return `[${byteLength} bytes]`;
}

// Makes a JSON.stringify replacer for values that JSON has no form for. It names an object seen before instead of
// repeating it, which bounds cycles and graphs of shared objects, and reads little more than can be shown.
function plain(): (key: string, value: unknown) => unknown {
  const seen = new WeakSet<object>();
  let left = MAX_CHARACTERS * 2;
  const text = (given: string): string => {
    const kept = cut(given, Math.max(left, 0));
    left -= kept.length;
    return kept;
  };
  const shown = (value: object): object => {
    const entries = entriesOf(value, Math.max(left, 0) / 4).map(([key, inner]) => [
      cut(key, MAX_KEY),
      ArrayBuffer.isView(inner) ? bytesOf(inner) : inner,
    ]);
    left -= entries.length + 4;
    return Array.isArray(value) || value instanceof Set
      ? entries.map(([, inner]) => inner)
      : Object.fromEntries(entries);
  };
  return (_key, value) => {
    if (typeof value === "string") return text(value);
    if (typeof value === "bigint" || typeof value === "function" || typeof value === "symbol") {
      return text(textOf(value));
    }
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return "[seen above]";
    seen.add(value);
    return value instanceof Error ? text(`${value.name}: ${value.message}`) : shown(value);
  };
}

// Returns the first entries as JSON would read them. A Map or a Set is read by its class's iterator, not its own.
function entriesOf(value: object, most: number): [string, unknown][] {
  const collection = [Array, Map, Set].find((one) => value instanceof one);
  if (collection !== undefined) return firstEntries(collection.prototype.entries.call(value as never), most);
  const keys = Object.keys(value).slice(0, most);
  const fields = fieldsOf(value);
  return keys.map((key) => [key, fields[key]]);
}

function firstEntries(entries: IterableIterator<[unknown, unknown]>, most: number): [string, unknown][] {
  const first: [string, unknown][] = [];
  for (const [key, value] of entries) {
    if (first.length >= most) break;
    first.push([textOf(key), value]);
  }
  return first;
}
