import { isTaskConfigError, TaskConfigError } from "../core/errors.js";
import { cut, isStorable, storable } from "../core/text.js";

/** Objects and arrays inside one another: more than that is beyond what some stores and parsers take. */
const MAX_LEVELS = 2_000;
/** Characters of JSON. */
const MAX_SIZE = 16_000_000;
/** What a number, `true`, `false`, `null` or a pair of brackets counts for. */
const SIZE_OF_OTHERS = 4;
/** What the quotes around a text count for, and what follows them. */
const SIZE_OF_QUOTES = 3;
const MAX_PATH = 200;
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

/**
 * Copies the arguments of a task as JSON will hold them. What JSON or a store would change silently is refused: a
 * function, a symbol, a BigInt, NaN, a cycle, a Map, a Date, an instance of a class, a text with NUL or half a character.
 * A property that is `undefined` is left out, as are `undefined` arguments at the end. An argument may be 2,000 levels
 * deep, and all of them together about 16 MB.
 *
 * @throws TaskConfigError naming the path of the value, such as `args[0].user.tags`; it shows no value.
 */
export function copyAsJson(args: readonly unknown[]): readonly unknown[] {
  const given = args.slice(0, args.findLastIndex((value) => value !== undefined) + 1);
  return new Copying().run(given);
}

class Copying {
  #left = MAX_SIZE;
  readonly #path: (string | number)[] = [];
  /** The objects that the path leads through. */
  readonly #around = new Set<object>();

  run(args: readonly unknown[]): readonly unknown[] {
    try {
      return this.#array(args);
    } catch (cause) {
      if (isTaskConfigError(cause)) throw cause;
      // a getter or a proxy threw, or the caller's own stack is almost full
      throw this.#refused("cannot be read", { cause });
    }
  }

  #value(value: unknown): unknown {
    if (typeof value === "string") this.#text(value);
    else if (typeof value === "object" && value !== null) return this.#object(value);
    else if (value === null || typeof value === "boolean" || Number.isFinite(value)) this.#take(SIZE_OF_OTHERS);
    else throw this.#refused(typeof value === "number" ? `is ${value}` : `is of the type ${typeof value}`);
    return value;
  }

  #object(value: object): unknown {
    if (this.#around.has(value)) throw this.#refused("contains itself");
    if (this.#around.size === MAX_LEVELS) throw this.#refused(`is more than ${MAX_LEVELS} levels deep`);
    this.#around.add(value);
    const copy = Array.isArray(value) ? this.#array(value) : this.#record(value);
    this.#around.delete(value);
    return copy;
  }

  #array(array: readonly unknown[]): unknown[] {
    const { length } = array;
    this.#take(SIZE_OF_OTHERS);
    // before an element is read: a length may be anything
    if (length > this.#left) throw this.#tooLarge();
    const copy: unknown[] = [];
    for (let index = 0; index < length; index += 1) {
      this.#path.push(index);
      copy.push(this.#value(array[index]));
      this.#path.pop();
    }
    return copy;
  }

  #record(value: object): object {
    if (!isPlain(value)) throw this.#refused("is not a plain object");
    this.#take(SIZE_OF_OTHERS);
    const copy: Record<string, unknown> = {};
    for (const key of Object.keys(value)) {
      this.#path.push(key);
      const one = (value as Record<string, unknown>)[key];
      if (one !== undefined) this.#property(copy, key, one);
      this.#path.pop();
    }
    return copy;
  }

  #property(copy: Record<string, unknown>, key: string, value: unknown): void {
    this.#text(key);
    const copied = this.#value(value);
    if (key === "__proto__") define(copy, key, copied);
    else copy[key] = copied;
  }

  #text(text: string): void {
    this.#take(text.length + SIZE_OF_QUOTES);
    if (!isStorable(text)) throw this.#refused("holds NUL or half a character (a lone surrogate)");
  }

  #take(size: number): void {
    this.#left -= size;
    if (this.#left < 0) throw this.#tooLarge();
  }

  #tooLarge(): TaskConfigError {
    return this.#refused(`is where the arguments exceed ${MAX_SIZE / 1e6} MB: store them elsewhere, and pass a key`);
  }

  #refused(why: string, options?: ErrorOptions): TaskConfigError {
    const path = this.#path
      .slice(0, MAX_PATH)
      .map((key) => (IDENTIFIER.test(String(key)) ? `.${key}` : bracketed(key)));
    const at = path.join("");
    const shown = at.length > MAX_PATH ? `${cut(at, MAX_PATH)}…` : at;
    return new TaskConfigError(`args${shown} ${why}, and cannot be stored with the task`, options);
  }
}

// Of any realm: its prototype is the last one, or it has none.
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  const plain = prototype === null || Object.getPrototypeOf(prototype) === null;
  return plain && typeof (value as { toJSON?: unknown }).toJSON !== "function";
}

function bracketed(key: string | number): string {
  return `[${typeof key === "number" ? key : JSON.stringify(storable(key, MAX_PATH))}]`;
}

// An assignment would set the prototype.
function define(on: object, key: string, value: unknown): void {
  Object.defineProperty(on, key, { value, enumerable: true, writable: true, configurable: true });
}
