import { EventEmitter } from "node:events";
import type { Door } from "../adapters/door.js";

/** A method of a library's class; it is called with what its own callers give. */
export type Method = (this: object, ...args: never[]) => unknown;

/** Who asked for a library's methods to be wrapped. */
export interface Gate {
  /** The settings of now, asked at each call; `undefined` while it is switched off. */
  door(): Door | undefined;
  /** Whether any other gate that is open comes before this one, however old. */
  readonly isLast?: boolean;
}

/** Makes a wrapper. `door` is the one to go by now; where there is none, the wrapper calls the original and no more. */
export type Wrap = (original: Method, door: () => Door | undefined) => Method;

/** Leads from a wrapper to its gates. All copies of this package know it: a method is wrapped once. */
const GATES: unique symbol = Symbol.for("otel-taskflow.gates.1");

/** Where the search for a method ends. */
const ENDS: readonly unknown[] = [EventEmitter.prototype, Object.prototype, null, undefined];

interface Wrapper extends Method {
  [GATES]?: Gate[];
}

/** What a module exports under a name; `undefined` where it has it not. A mock may throw when it is asked for that. */
export function exportOf(module: object, name: string): unknown {
  try {
    return Reflect.get(module, name);
  } catch {
    return undefined;
  }
}

/** Gives a wrapper the name and the length of what it wraps. */
export function named<F extends object>(wrapper: F, { name, length }: { name: string; length: number }): F {
  return Object.defineProperties(wrapper, { name: { value: name }, length: { value: length } });
}

/** Finds the class in whose prototype a method is: `Class`, or one that it extends, but none of Node's own. */
export function ownerOf(Class: unknown, name: string): Record<string, Wrapper> | undefined {
  const prototype = typeof Class === "function" ? Class.prototype : undefined;
  for (let owner = prototype; !ENDS.includes(owner); owner = Object.getPrototypeOf(owner)) {
    const found = Object.getOwnPropertyDescriptor(owner, name)?.value;
    // a method of this name, which its owner keeps there
    if (typeof found === "function") return owner as Record<string, Wrapper>;
  }
  return undefined;
}

/**
 * Wraps a method of a class, for all of its objects, those made before included. A method that is wrapped already gets
 * one more gate: of those that are open, the newest decides.
 */
export function wrapMethod(Class: unknown, name: string, gate: Gate, wrap: Wrap): void {
  const owner = ownerOf(Class, name);
  const original = owner?.[name];
  if (owner === undefined || original === undefined) return;
  const { [GATES]: known } = original;
  if (known !== undefined) {
    if (!known.includes(gate)) known.splice(gate.isLast ? 0 : known.length, 0, gate);
    return;
  }
  const gates = [gate];
  const wrapper: Wrapper = named(
    wrap(original, () => openIn(gates)),
    original,
  );
  Object.defineProperty(wrapper, GATES, { value: gates });
  const { enumerable = false } = Object.getOwnPropertyDescriptor(owner, name) ?? {};
  Object.defineProperty(owner, name, { value: wrapper, writable: true, configurable: true, enumerable });
}

/** The settings of now for a class, by the gates of one of its methods, which is wrapped. */
export function openFor(Class: unknown, name: string): () => Door | undefined {
  return () => openIn(ownerOf(Class, name)?.[name]?.[GATES] ?? []);
}

function openIn(gates: readonly Gate[]): Door | undefined {
  for (let index = gates.length - 1; index >= 0; index -= 1) {
    const door = gates[index]?.door();
    if (door !== undefined) return door;
  }
  return undefined;
}
