import type { AttributeValue } from "@opentelemetry/api";

const MAX_CHARACTERS = 8192;
const MAX_ITEMS = 1000;
const UNREADABLE = "[unreadable]";

/**
 * Any value as an attribute value: primitives and arrays of one primitive type as they are, everything
 * else as text. `undefined` and `null` have no attribute. Never throws, whatever getters and proxies do.
 */
export function toAttribute(value: unknown): AttributeValue | undefined {
  switch (typeof value) {
    case "string":
      return clip(value);
    case "number":
    case "boolean":
      return value;
    case "undefined":
      return undefined;
    case "object":
      return value === null ? undefined : objectToAttribute(value);
    default:
      return clip(textOf(value));
  }
}

/** Text of any value; never throws. */
export function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return UNREADABLE;
  }
}

/** Long text cut at a limit that every backend accepts, saying how much is missing. */
export function clip(text: string): string {
  if (text.length <= MAX_CHARACTERS) return text;
  return `${text.slice(0, MAX_CHARACTERS)}… (${text.length - MAX_CHARACTERS} more characters)`;
}

function objectToAttribute(value: object): AttributeValue {
  try {
    if (value instanceof Error) return clip(`${value.name}: ${value.message}`);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? textOf(value) : value.toISOString();
    if (ArrayBuffer.isView(value)) return bytesOf(value);
    const items = Array.isArray(value) ? firstOf(value, MAX_ITEMS) : undefined;
    if (items !== undefined && isUniform(items)) {
      // one primitive type, as isUniform found
      return items.map((item) => (typeof item === "string" ? clip(item) : item)) as string[];
    }
    return clip(JSON.stringify(items ?? value, plain(new WeakSet())) ?? textOf(value));
  } catch {
    return UNREADABLE;
  }
}

// The first items by index: an array may have an iterator, a map or a length of its own making.
function firstOf(array: readonly unknown[], most: number): unknown[] {
  return Array.from({ length: Math.min(array.length, most) }, (_, index) => array[index]);
}

function isUniform(items: readonly unknown[]): items is (string | number | boolean)[] {
  const kind = typeof items[0];
  const legal = kind === "string" || kind === "number" || kind === "boolean";
  return legal && items.every((item) => typeof item === kind);
}

function bytesOf({ byteLength }: ArrayBufferView): string {
  return `[${byteLength} bytes]`;
}

// A JSON.stringify replacer for what JSON has no form for. An object seen before is named, not repeated:
// that covers cycles, and keeps a graph of shared objects from growing without bound. No more is read than can be shown.
function plain(seen: WeakSet<object>): (key: string, value: unknown) => unknown {
  let left = MAX_CHARACTERS;
  const shown = (value: object): object => {
    const entries = entriesOf(value, left).map(([key, inner]) => [
      key,
      ArrayBuffer.isView(inner) ? bytesOf(inner) : inner,
    ]);
    left -= entries.length;
    return Array.isArray(value) ? entries.map(([, inner]) => inner) : Object.fromEntries(entries);
  };
  return (_key, value) => {
    if (typeof value === "bigint" || typeof value === "function" || typeof value === "symbol") return textOf(value);
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return "[seen above]";
    seen.add(value);
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (value instanceof Map) return shown(Object.fromEntries(value));
    if (value instanceof Set) return shown([...value]);
    return shown(value);
  };
}

// As JSON would read them, up to a number.
function entriesOf(value: object, most: number): [string, unknown][] {
  if (Array.isArray(value)) return firstOf(value, most).map((item, index) => [String(index), item]);
  const keys = Object.keys(value).slice(0, most);
  return keys.map((key) => [key, (value as Record<string, unknown>)[key]]);
}
