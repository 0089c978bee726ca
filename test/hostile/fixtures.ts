import { type Context, context, diag } from "@opentelemetry/api";
import type { TaskManager } from "otel-taskflow";
import { onTestFinished } from "vitest";

const TRAPS: readonly (keyof ProxyHandler<object>)[] = [
  ...(["apply", "construct", "defineProperty", "deleteProperty", "get", "getOwnPropertyDescriptor"] as const),
  ...(["getPrototypeOf", "has", "isExtensible", "ownKeys", "preventExtensions", "set", "setPrototypeOf"] as const),
];

/** Throws; stands in for any callback or method. */
export function explode(): never {
  throw new Error("exploded");
}

/** A value on which every operation throws. */
export function untouchable(target: object = {}): object {
  return new Proxy(target, Object.fromEntries(TRAPS.map((trap) => [trap, explode])));
}

/** A proxy that is dead. */
export function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** An object that throws where it is asked whether it is a promise. */
export function thenThrows(): object {
  return {
    // biome-ignore lint/suspicious/noThenProperty: it is what is tested
    get then() {
      return explode();
    },
  };
}

/** An Error whose every property throws when read. */
export function unreadableError(): Error {
  // stack first: it is formatted when it is replaced, from name and message
  const getters = ["stack", "name", "message", "cause", "code"].map((key) => [key, { get: explode }]);
  return Object.defineProperties(new Error("never seen"), Object.fromEntries(getters));
}

/** Things a task may throw that are hard to describe, by name. */
export const hostileErrors: Record<string, () => unknown> = {
  "an error with throwing getters": unreadableError,
  "an error with properties of wrong types": () =>
    Object.assign(new Error(), { name: Symbol("name"), message: { toString: explode }, stack: 1n }),
  "an error that wraps itself": () => {
    const error = new Error("circular");
    return Object.assign(error, { cause: error });
  },
  "an error of a megabyte": () => new Error("x".repeat(1_000_000)),
  "an object pretending to be an error": () => ({ [Symbol.toStringTag]: "Error", name: 1, message: null, stack: [] }),
  "an error's prototype": () => Object.create(Error.prototype),
  "a proxy that throws on every trap": () => untouchable(),
  "a proxy of an error that throws on every trap": () => untouchable(new Error("inside")),
  "a callable proxy that throws on every trap": () => untouchable(() => {}),
  "a revoked proxy": revoked,
  "an object whose toString and toJSON throw": () => ({ toString: explode, toJSON: explode, valueOf: explode }),
  "an object whose then throws": thenThrows,
  "a promise that never settles": () => new Promise(() => {}),
  "an object without a prototype": () => Object.create(null),
  "an array with a cycle": () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    return cycle;
  },
  "a symbol": () => Symbol("thrown"),
  "a bigint": () => 10n,
  NaN: () => Number.NaN,
  "an empty string": () => "",
  null: () => null,
  undefined: () => undefined,
};

/** Collects rejections that nobody handled, for the running test; in place of everyone else who listens. */
export function watchUnhandled(): { readonly reasons: unknown[]; settled(): Promise<void> } {
  const reasons: unknown[] = [];
  const others = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", (reason) => reasons.push(reason));
  onTestFinished(() => {
    process.removeAllListeners("unhandledRejection");
    for (const other of others) process.on("unhandledRejection", other);
  });
  // node tells of them after the microtasks of a turn
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 3; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  };
  return { reasons, settled };
}

/** Waits until a manager is idle, for ten seconds at most. */
export async function idleSoon(tasks: TaskManager): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timesUp = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("still not idle after ten seconds")), 10_000);
  });
  await Promise.race([tasks.idle(), timesUp]).finally(() => clearTimeout(timer));
}

/** Registers a diag logger that throws, for the running test. */
export function breakDiag(): void {
  const logger = { error: explode, warn: explode, info: explode, debug: explode, verbose: explode };
  diag.setLogger(logger, { suppressOverrideMessage: true });
  onTestFinished(() => diag.disable());
}

/** Runs code in a context of its own. */
export function within<T>(change: (active: Context) => Context, run: () => T): T {
  return context.with(change(context.active()), run);
}
