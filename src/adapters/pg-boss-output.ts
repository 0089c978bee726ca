import { warn } from "../core/guard.js";
import { storable } from "../core/text.js";
import { failureOutput } from "../engines/pg-boss/failure-output.js";

/** Levels that pg-boss and PostgreSQL can go down without running out of stack. */
const MAX_DEPTH = 1_000;
/** What pg-boss reads of any object, besides its own enumerable properties. */
const ERROR_FIELDS: readonly string[] = ["name", "message", "stack", "code", "cause", "errors"];
/** Characters that an object costs: many that refer to each other make a copy without end. */
const OBJECT_COST = 8;

/** One copy that is being made. */
interface Copying {
  /** Characters and values that it may still hold. */
  left: number;
  /** The objects around the one that is being copied. */
  readonly above: Set<object>;
}

/**
 * What a handler returned as pg-boss can store it: one output that cannot be stored would fail the whole batch. Holds
 * what pg-boss itself would keep, with U+FFFD for what PostgreSQL refuses in a text. What cannot be read, or exceeds
 * `most` characters, is left out as a whole and told to diag. Never throws.
 */
export function resultOutput(value: unknown, most: number): unknown {
  if (value === undefined || value === null || typeof value === "function") return undefined;
  return tryCopy("what a job returned cannot be stored", value, most);
}

/** What a failed job keeps of what was thrown: all that pg-boss would, and name and message in any case. Never throws. */
export function errorOutput(error: unknown, most: number): object {
  const { name, message, stack } = failureOutput(error, 0);
  const nothing = error === undefined || error === null || typeof error === "function";
  const copy = nothing ? {} : tryCopy("what a job has thrown cannot be stored as it is", error, most);
  if (copy === undefined) return { name, message, ...(stack !== undefined && { stack }) };
  return { name, message, ...(isObject(copy) ? copy : { value: copy }) };
}

function tryCopy(what: string, value: unknown, most: number): unknown {
  try {
    return copyOf(value, { left: most, above: new Set() });
  } catch (error) {
    warn(what, error);
    return undefined;
  }
}

function copyOf(value: unknown, copying: Copying): unknown {
  switch (typeof value) {
    case "string":
      spend(copying, value.length);
      return storable(value);
    case "bigint":
      return `${value}n`;
    case "function":
    case "symbol":
      return undefined;
    case "object":
      return value === null ? null : objectCopy(value, copying);
    default:
      return value;
  }
}

function objectCopy(value: object, copying: Copying): unknown {
  const { above } = copying;
  if (above.has(value)) return "[Circular]";
  const opaque = above.size === 0 ? undefined : opaqueText(value);
  if (opaque !== undefined) return opaque;
  if (above.size >= MAX_DEPTH) throw new RangeError(`it has more than ${MAX_DEPTH} levels`);
  spend(copying, OBJECT_COST);
  above.add(value);
  const json = asJson(value);
  const copy = json === value ? fieldsCopy(value, copying) : copyOf(json, copying);
  above.delete(value);
  return copy;
}

function fieldsCopy(value: object, copying: Copying): object {
  // whoever reads an element beyond the end pays for it: an array may claim any length
  if (Array.isArray(value))
    return Array.from({ length: spend(copying, value.length) }, (_, n) => copyOf(value[n], copying));
  const copy: Record<string, unknown> = {};
  for (const field of ERROR_FIELDS) keep(copy, field, errorField(value, field), copying);
  for (const key of Object.keys(value)) {
    if (key === "__proto__" || ERROR_FIELDS.includes(key)) continue;
    keep(copy, storable(key), (value as Record<string, unknown>)[key], copying);
  }
  return copy;
}

function keep(copy: Record<string, unknown>, key: string, value: unknown, copying: Copying): void {
  const kept = copyOf(value, copying);
  if (kept === undefined) return;
  spend(copying, key.length + 1);
  copy[key] = kept;
}

// Found on the prototype as well; nothing where it cannot be read, as nothing else reads it there.
function errorField(value: object, field: string): unknown {
  try {
    const found = (value as Record<string, unknown>)[field];
    return found === null && !Object.hasOwn(value, field) ? undefined : found;
  } catch {
    return undefined;
  }
}

function asJson(value: object): unknown {
  const { toJSON } = value as { toJSON?: unknown };
  return typeof toJSON === "function" ? toJSON.call(value) : value;
}

// As pg-boss names what it does not read.
function opaqueText(value: object): string | undefined {
  if (Buffer.isBuffer(value)) return "[object Buffer]";
  const { pipe, on } = value as { pipe?: unknown; on?: unknown };
  return typeof pipe === "function" && typeof on === "function" ? "[object Stream]" : undefined;
}

function spend(copying: Copying, size: number): number {
  copying.left -= size;
  // an array may claim to have NaN elements
  if (!(copying.left >= 0)) throw new RangeError("it is too large");
  return size;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
