import { warn } from "../core/guard.js";
import { storable } from "../core/text.js";
import { fieldsOf } from "../core/wire.js";
import { failureOutput } from "../engines/pg-boss/settle.js";
import type { TaskJob } from "./pg-boss-job.js";

/** Characters of a batch's outputs, all together: they travel in one statement, of which PostgreSQL takes 256 MB. */
export const MAX_OUTPUT = 33_554_432;
/** Levels of nesting that neither pg-boss nor PostgreSQL runs out of stack over. */
const MAX_DEPTH = 1_000;
/** pg-boss reads these of any object, wherever it has them from, and all enumerable properties of its own. */
const ERROR_FIELDS: readonly string[] = ["name", "message", "stack", "code", "cause", "errors"];
/** Characters that an object counts for: many that refer to each other would make a copy without end. */
const OBJECT_COST = 8;

/** The jobs of a batch whose one output it is; `name` is that of the queue. */
type Jobs = readonly Pick<TaskJob, "id" | "name">[];

/** A copy in the making. */
interface Copying {
  /** Characters and values that it may still hold. */
  left: number;
  /** The objects around the one that is being copied. */
  readonly above: Set<object>;
  /** Something in it is not as it was. */
  isMended: boolean;
}

/**
 * Copies what a handler returned into what pg-boss can store, since one output that it cannot would fail the whole
 * batch. The copy holds what pg-boss itself would keep, with U+FFFD for what PostgreSQL refuses in a text. A value that
 * cannot be read, or has more than `most` characters, is left out as a whole and told to diag. Never throws.
 */
export function resultOutput(value: unknown, most: number, jobs: Jobs): unknown {
  if (value === undefined || value === null || typeof value === "function") return undefined;
  return tryCopy(value, most, () => `what ${told(jobs)} returned cannot be stored`);
}

/**
 * Copies what a handler threw as {@link resultOutput} does; name and message are kept in any case. Never throws.
 */
export function errorOutput(error: unknown, most: number, jobs: Jobs): object {
  const { name, message, stack } = failureOutput(error, 0);
  const nothing = error === undefined || error === null || typeof error === "function";
  const failed = (): string => `what ${told(jobs)} has thrown cannot be stored as it is`;
  const copy = nothing ? {} : tryCopy(error, most, failed);
  if (copy === undefined) return { name, message, ...(stack !== undefined && { stack }) };
  return { name, message, ...(isObject(copy) ? copy : { value: copy }) };
}

/**
 * What pg-boss is told of what a handler returned: the very value, of which it stores the same as ever. Where it could
 * store none of it, so that a job that is done would run again, what {@link resultOutput} makes of it. Never throws.
 */
export function storableResult(value: unknown, most: number, jobs: Jobs): unknown {
  return isStorableOutput(value, most) ? value : resultOutput(value, most, jobs);
}

/**
 * What pg-boss is told of what a handler threw: the very value, of which it stores the same as ever. Where it could store
 * none of it, so that the job would not end before it expires, a copy of what can be stored. Never throws.
 */
export function storableThrown(error: unknown, most: number, jobs: Jobs): unknown {
  return isStorableOutput(error, most) ? error : errorOutput(error, most, jobs);
}

function told(jobs: Jobs): string {
  const [{ id, name } = { id: "", name: "" }, ...others] = jobs;
  return `job ${id} of queue ${name}${others.length > 0 ? `, with ${others.length} more of its batch,` : ""}`;
}

function isStorableOutput(value: unknown, most: number): boolean {
  const copying: Copying = { left: most, above: new Set(), isMended: false };
  try {
    copyOf(value, copying);
    return !copying.isMended;
  } catch {
    return false;
  }
}

function tryCopy(value: unknown, most: number, failed: () => string): unknown {
  try {
    return copyOf(value, { left: most, above: new Set(), isMended: false });
  } catch (error) {
    warn(failed(), error);
    return undefined;
  }
}

function copyOf(value: unknown, copying: Copying): unknown {
  switch (typeof value) {
    case "string":
      spend(copying, value.length);
      return mended(value, copying);
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
  // its length is paid for before an element is read, as an array may claim any
  if (Array.isArray(value))
    return Array.from({ length: spend(copying, value.length) }, (_, n) => copyOf(value[n], copying));
  const copy: Record<string, unknown> = {};
  for (const field of ERROR_FIELDS) keep(copy, field, errorField(value, field, copying), copying);
  for (const key of Object.keys(value)) {
    if (key === "__proto__" || ERROR_FIELDS.includes(key)) continue;
    keep(copy, mended(key, copying), fieldsOf(value)[key], copying);
  }
  return copy;
}

function keep(copy: Record<string, unknown>, key: string, value: unknown, copying: Copying): void {
  const kept = copyOf(value, copying);
  if (kept === undefined) return;
  spend(copying, key.length + 1);
  copy[key] = kept;
}

// It may be found on a prototype. One that cannot be read is left out by itself.
function errorField(value: object, field: string, copying: Copying): unknown {
  try {
    const found = fieldsOf(value)[field];
    return found === null && !Object.hasOwn(value, field) ? undefined : found;
  } catch {
    copying.isMended = true;
    return undefined;
  }
}

function mended(text: string, copying: Copying): string {
  const kept = storable(text);
  copying.isMended ||= kept !== text;
  return kept;
}

function asJson(value: object): unknown {
  const { toJSON } = fieldsOf(value);
  return typeof toJSON === "function" ? toJSON.call(value) : value;
}

// pg-boss writes these texts in the place of what it does not read.
function opaqueText(value: object): string | undefined {
  if (Buffer.isBuffer(value)) return "[object Buffer]";
  const { pipe, on } = fieldsOf(value);
  return typeof pipe === "function" && typeof on === "function" ? "[object Stream]" : undefined;
}

function spend(copying: Copying, size: number): number {
  copying.left -= size;
  // an array may claim to have NaN elements, and nothing compares with that
  if (!(copying.left >= 0)) throw new RangeError("it is too large");
  return size;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
