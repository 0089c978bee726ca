import { show } from "../core/checks.js";
import { TaskConfigError } from "../core/errors.js";

type Path = readonly (string | number)[];

/**
 * Copies the arguments of a task as JSON will hold them. What JSON would change silently is refused: a function, a
 * symbol, a BigInt, NaN, a cycle, a Map, a Date, an instance of a class. A property that is `undefined` is left out,
 * as are `undefined` arguments at the end.
 *
 * @throws TaskConfigError naming the path of the value, such as `args[0].user.tags`.
 */
export function copyAsJson(args: readonly unknown[]): readonly unknown[] {
  const given = args.slice(0, args.findLastIndex((value) => value !== undefined) + 1);
  return copyArray(given, [], []);
}

function copy(value: unknown, path: Path, parents: readonly object[]): unknown {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value !== "object") throw refused(value, path, "is not a JSON value");
  if (parents.includes(value)) throw refused(value, path, "contains itself");
  const within = [...parents, value];
  if (Array.isArray(value)) return copyArray(value, path, within);
  if (!isPlain(value)) throw refused(value, path, "is not a plain object");
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  // not by assignment: a key may be __proto__
  return Object.fromEntries(entries.map(([key, one]) => [key, copy(one, [...path, key], within)]));
}

// Array.from visits holes too, as the undefined that they read as.
function copyArray(array: readonly unknown[], path: Path, parents: readonly object[]): unknown[] {
  return Array.from(array, (one, index) => copy(one, [...path, index], parents));
}

// Of any realm: its prototype is the last one, or it has none.
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  const plain = prototype === null || Object.getPrototypeOf(prototype) === null;
  return plain && typeof (value as { toJSON?: unknown }).toJSON !== "function";
}

function refused(value: unknown, path: Path, why: string): TaskConfigError {
  const at = path.map((key) => (/^[A-Za-z_$][\w$]*$/.test(String(key)) ? `.${key}` : `[${JSON.stringify(key)}]`));
  return new TaskConfigError(`args${at.join("")} ${why}, and cannot be stored with the task; received ${show(value)}`);
}
