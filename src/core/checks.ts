import { TaskConfigError } from "./errors.js";
import { isStorable, storable } from "./text.js";
import type { TaskRelation } from "./types.js";

/** The longest wait of setTimeout, in ms; a longer one would fire at once. */
export const MAX_TIMER_MS = 2_147_483_647;

/** Most characters of a name or an id. */
export const MAX_TEXT = 512;
/** Most characters of a key in an error message. */
const MAX_KEY = 80;
const RELATIONS: readonly unknown[] = ["parent", "link", "none"];

/** Bounds of a numeric option, both inclusive. */
export interface NumberRange {
  readonly min: number;
  readonly max?: number;
  readonly integer?: boolean;
}

/**
 * Returns the value where it is a number in range.
 *
 * @throws TaskConfigError naming the option, the accepted range and the value received.
 */
export function checkNumber(option: string, value: unknown, range: NumberRange): number {
  const { min, max = Number.MAX_SAFE_INTEGER, integer = false } = range;
  const fits = typeof value === "number" && value >= min && value <= max && (!integer || Number.isInteger(value));
  if (fits) return value;
  const upTo = max === Number.MAX_SAFE_INTEGER ? "" : ` to ${max}`;
  const expected = `${integer ? "an integer" : "a number"} from ${min}${upTo}`;
  throw new TaskConfigError(`${option}: expected ${expected}, received ${show(value)}`);
}

/** Does the same as {@link checkNumber} for an option that may be left out. */
export function checkOptional(option: string, value: unknown, range: NumberRange): number | undefined {
  return value === undefined ? undefined : checkNumber(option, value, range);
}

/**
 * Checks a name or an id, which travels in carriers and which every store has to hold.
 *
 * @throws TaskConfigError unless the value is a well-formed string of 1 to 512 characters without NUL.
 */
export function checkText(option: string, value: unknown): string {
  if (typeof value === "string" && value !== "" && value.length <= MAX_TEXT && isStorable(value)) return value;
  const expected = `a well-formed string of 1 to ${MAX_TEXT} characters without NUL`;
  throw new TaskConfigError(`${option}: expected ${expected}, received ${show(value)}`);
}

/** Whether a value is one of the three relations. */
export function isRelation(value: unknown): value is TaskRelation {
  return RELATIONS.includes(value);
}

/** @throws TaskConfigError unless the value is one of the three relations. */
export function checkRelation(value: unknown): TaskRelation {
  // one of the list is of its type
  if (isRelation(value)) return value;
  throw new TaskConfigError(`relation: expected "parent", "link" or "none", received ${show(value)}`);
}

/** @throws TaskConfigError unless the value is true or false. */
export function checkBoolean(option: string, value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new TaskConfigError(`${option}: expected true or false, received ${show(value)}`);
}

/** @throws TaskConfigError unless the value is a function. */
export function checkFunction(option: string, value: unknown): void {
  if (typeof value === "function") return;
  throw new TaskConfigError(`${option}: expected a function, received ${show(value)}`);
}

/**
 * @throws TaskConfigError unless the value is left out, or has these methods: one that is missing would fail where it is
 * too late.
 */
export function checkMethods(option: string, expected: string, value: unknown, methods: readonly string[]): void {
  if (value === undefined || hasMethods(Object(value), methods)) return;
  throw new TaskConfigError(`${option}: expected ${expected}, received ${show(value)}`);
}

// A value whose methods cannot be looked at may have them all the same.
function hasMethods(value: object, methods: readonly string[]): boolean {
  try {
    return methods.every((name) => typeof Reflect.get(value, name) === "function");
  } catch {
    return true;
  }
}

/** @throws TaskConfigError unless the value is an object, as options are. */
export function checkObject(what: string, value: unknown): void {
  if (typeof value === "object" && value !== null) return;
  throw new TaskConfigError(`${what}: expected an object, received ${show(value)}`);
}

/** The names of all options of a type, which the compiler keeps complete. */
export function namesOf<Options>(names: Record<keyof Options, true>): ReadonlySet<string> {
  return new Set(Object.keys(names));
}

/**
 * Finds misspelled options, which would otherwise be ignored in silence. An option that is `undefined`, or inherited,
 * is none.
 *
 * @throws TaskConfigError unless the value is an object whose own options are all known; it names those that are.
 */
export function checkKeys(call: string, options: object, known: ReadonlySet<string>): void {
  if (typeof options !== "object" || options === null) checkObject(`${call}: its options`, options);
  for (const key in options) {
    if (known.has(key) || !Object.hasOwn(options, key) || Reflect.get(options, key) === undefined) continue;
    throw new TaskConfigError(`${call}: unknown option ${quoteKey(key)}; expected one of ${[...known].join(", ")}`);
  }
}

/** Quotes a key for an error message, as keys are the program's own words and no values. */
export function quoteKey(key: string): string {
  return JSON.stringify(storable(key, MAX_KEY));
}

/** Describes a value for an error message: numbers and booleans as they are, anything else by its kind only. */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string":
      return value === "" ? "an empty string" : `a string of ${value.length} characters`;
    case "number":
    case "boolean":
    case "undefined":
      return String(value);
    case "object":
      return value === null ? "null" : Array.isArray(value) ? "an array" : "an object";
    default:
      return `a ${typeof value}`;
  }
}
