import fc from "fast-check";
import { explode, revoked, thenThrows, unreadableError, untouchable } from "../hostile/fixtures.js";

export type Tags = Record<string, string>;

const MAX_TAG = 1_024;
const KEY_CHARACTERS = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"];
const AWKWARD_KEYS = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "toJSON",
  "then",
  "level",
  "0",
  ".",
  "-",
];
const AWKWARD_VALUES = ["", " ", "a=b,c;d", "%", "%2C", "null", "\r\n", "🦩".repeat(20), "é", "\ufeff", '"\\'];

/** A legal key, names that objects have anyway among them. */
export const key = (): fc.Arbitrary<string> =>
  fc.oneof(
    { arbitrary: fc.string({ unit: fc.constantFrom(...KEY_CHARACTERS), minLength: 1, maxLength: 64 }), weight: 3 },
    { arbitrary: fc.constantFrom(...AWKWARD_KEYS), weight: 1 },
  );

/** A value that a task sees as it is: any well-formed Unicode without NUL, up to 1,024 UTF-16 code units. */
export const value = (): fc.Arbitrary<string> =>
  fc.oneof(
    fc.string({ unit: "binary", maxLength: 512 }).map((text) => text.toWellFormed().replaceAll("\0", "")),
    fc.string({ unit: "grapheme", maxLength: 40 }).filter((text) => text.length <= MAX_TAG),
    fc.constantFrom(...AWKWARD_VALUES, "x".repeat(MAX_TAG)),
  );

/** Legal tags: up to 16. */
export const tags = (): fc.Arbitrary<Tags> =>
  fc
    .uniqueArray(fc.tuple(key(), value()), { maxLength: 16, selector: ([name]) => name })
    .map((entries) => Object.fromEntries(entries));

/** Any value that is a label's, and the text that its task sees. */
export const looseValue = (): fc.Arbitrary<[given: string | number | boolean | null | undefined, seen?: string]> =>
  fc.oneof(
    fc.constantFrom<[null | undefined]>([undefined], [null]),
    fc.oneof(fc.double(), fc.boolean()).map((plain): [number | boolean, string] => [plain, String(plain)]),
    fc.constantFrom<[string, string]>(
      ["x".repeat(MAX_TAG + 1), "x".repeat(MAX_TAG)],
      [`${"x".repeat(MAX_TAG - 1)}🦩`, "x".repeat(MAX_TAG - 1)],
      ["half \ud83e a bird", "half \ufffd a bird"],
      ["\0", "\ufffd"],
    ),
  );

/** Tags that must be refused, and how the message names the culprit. */
export const illegalTags = (): fc.Arbitrary<Refused> =>
  fc.oneof(
    fc.tuple(tags(), badKey(), value()).map(([others, bad, text]) => among(others, bad, text, `tag ${quoted(bad)}`)),
    fc.tuple(tags(), key(), badValue()).map(([others, name, bad]) => among(others, name, bad, `tag "${name}"`)),
    severalTags(17, 40, "").map((many) => ({ ...show(many), names: `received ${Object.keys(many).length}` })),
    fc
      .oneof(fc.string(), fc.integer(), fc.boolean(), fc.bigInt(), fc.constant(null), fc.array(fc.string()))
      .map((plain) => ({ ...show(plain), names: "tags: expected an object" })),
    fc.constantFrom(...Object.keys(oddities)).map((kind) => ({ kind, make: () => oddities[kind]?.(), names: "tags" })),
  );

const severalTags = (minLength: number, maxLength: number, text: string): fc.Arbitrary<Tags> =>
  fc.uniqueArray(key(), { minLength, maxLength }).map((keys) => Object.fromEntries(keys.map((name) => [name, text])));

/** Anything at all, things included that throw when they are looked at. */
export const anything = (): fc.Arbitrary<Wrapped> =>
  fc.oneof(
    { arbitrary: fc.anything(EVERY_KIND).map(show), weight: 4 },
    {
      arbitrary: fc.constantFrom(...everyHostile()),
      weight: 2,
    },
    {
      arbitrary: fc
        .tuple(fc.anything(EVERY_KIND), fc.constantFrom(...Object.keys(hostile)))
        .map(([plain, kind]) => ({ kind, make: () => [plain, { nested: hostile[kind]?.() }] })),
      weight: 1,
    },
  );

/** Each hostile value once. */
export const everyHostile = (): Wrapped[] =>
  Object.keys(hostile).map((kind) => ({ kind, make: () => hostile[kind]?.() }));

/** Holds a value that fast-check must not look at itself when it reports a failure. */
export interface Wrapped {
  readonly kind?: string;
  readonly plain?: unknown;
  make(): unknown;
}

export interface Refused extends Wrapped {
  readonly names: string;
}

const EVERY_KIND: fc.ObjectConstraints = {
  ...{ withBigInt: true, withBoxedValues: true, withDate: true, withMap: true, withNullPrototype: true },
  ...{ withObjectString: true, withSet: true, withSparseArray: true, withTypedArray: true },
  ...{ withUnicodeString: true, maxDepth: 3 },
} as fc.ObjectConstraints;

const hostile: Record<string, () => unknown> = {
  "untouchable object": () => untouchable(),
  "untouchable array": () => untouchable([1, 2]),
  "untouchable function": () => untouchable(explode),
  "untouchable error": () => untouchable(new Error("inside")),
  "untouchable date": () => untouchable(new Date()),
  "revoked proxy": revoked,
  "then throws": thenThrows,
  "unreadable error": unreadableError,
  "toJSON throws": () => ({ toJSON: explode }),
  "toString throws": () => ({ toString: explode, valueOf: explode }),
  "throwing getter": () => ({
    get inside() {
      return explode();
    },
  }),
  cycle: () => {
    const cycle: unknown[] = [{}];
    cycle.push(cycle, new Map([[cycle, cycle]]), new Set([cycle]));
    return cycle;
  },
  "endless getter": endless,
  "deep nesting": () => Array.from({ length: 20_000 }).reduce<unknown>((inner) => [inner], 1),
  "invalid date": () => new Date(Number.NaN),
  "date's prototype": () => Object.create(Date.prototype),
  "error's prototype": () => Object.create(Error.prototype),
  "pretended error": () => ({ [Symbol.toStringTag]: "Error", name: 1n, message: Symbol("m"), stack: {} }),
  "map with odd keys": () =>
    new Map<unknown, unknown>([
      [{ toString: explode }, 1],
      [Symbol("k"), 2],
    ]),
  "map's prototype": () => Object.create(Map.prototype),
  "huge error": () => Object.assign(new Error("x".repeat(100_000)), { name: "y".repeat(100_000) }),
  "huge text": () => "x".repeat(1_000_000),
  "huge array": () => Array.from({ length: 20_000 }, (_, index) => index),
  "lone surrogate": () => "\ud800",
  "array with an own every": () => Object.assign([1, "a", {}], { every: () => true }),
  "array with an own map": () => Object.assign(["a", "b"], { map: () => ({}) }),
  "sparse array": () => Object.assign(new Array(3), { 1: "a" }),
  "mixed array": () => ["a", 1, null, undefined, true],
  symbol: () => Symbol("s"),
  function: () => explode,
  promise: () => new Promise(() => {}),
  bigint: () => 10n,
  "typed array": () => new Uint8Array(10),
  "array buffer": () => new ArrayBuffer(8),
  weakmap: () => new WeakMap(),
  "boxed string": () => Object("boxed"),
  "boxed bigint": () => Object(1n),
  global: () => globalThis,
  NaN: () => Number.NaN,
};

const oddities: Record<string, () => unknown> = {
  "a proxy": () => untouchable(),
  "a function": () => explode,
  "a Map": () => new Map([["plan", "pro"]]),
  "binary data": () => Buffer.from("pro"),
  "a getter": () => Object.defineProperty({}, "plan", { get: explode, enumerable: true }),
};

function endless(): object {
  return {
    get next() {
      return endless();
    },
  };
}

const badKey = (): fc.Arbitrary<string> =>
  fc.oneof(
    fc.constant(""),
    fc.string({ unit: fc.constantFrom(...KEY_CHARACTERS), minLength: 65, maxLength: 100 }),
    fc
      .tuple(fc.string({ maxLength: 20 }), fc.constantFrom(" ", "é", "=", ",", ";", "%", "/", "\n", "\ud800", "🦩"))
      .map(([start, bad]) => start + bad),
  );

const badValue = (): fc.Arbitrary<unknown> =>
  fc.oneof(
    fc.object(),
    fc.array(fc.anything()),
    fc.constantFrom<unknown>(() => {}, Symbol("s"), new Date(0), new Map()),
  );

function among(others: Tags, name: string, bad: unknown, names: string): Refused {
  const rest = Object.entries(others).filter(([other]) => other !== name);
  return { ...show(Object.fromEntries([...rest.slice(0, 3), [name, bad]])), names };
}

function show(plain: unknown): Wrapped {
  return { plain, make: () => plain };
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 80).toWellFormed());
}
