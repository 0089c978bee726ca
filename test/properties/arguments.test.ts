import fc from "fast-check";
import { type OpenEngine, TaskManager, type TaskMessage } from "otel-taskflow";
import { copyAsJson } from "otel-taskflow/engine";
import { describe, expect, test } from "vitest";
import { explode, untouchable } from "../hostile/fixtures.js";

// A durable engine as far as storing goes: it keeps what it is given.
function durableTasks(): { add(args: readonly unknown[]): Promise<unknown>; readonly stored: TaskMessage[] } {
  const stored: TaskMessage[] = [];
  const opened: OpenEngine = {
    enqueue: (message) => stored.push(message) > 0,
    work: () => {},
    take: () => undefined,
    waiting: () => 0,
    quiesce: () => [],
    close: () => {},
  };
  const capabilities = { durable: true, granularity: 0 };
  const tasks = new TaskManager({ engine: { name: "test", capabilities, copyArgs: copyAsJson, open: () => opened } });
  const fn = tasks.task("task", (..._args: unknown[]) => {});
  return { add: (args) => tasks.addTask(fn, args as unknown[]), stored };
}

class Money {
  readonly amount = 1;
}

const cycle: { self?: unknown } = {};
cycle.self = cycle;

const refused: [string, unknown, string][] = [
  ["a function", () => {}, ""],
  ["a symbol", Symbol("s"), ""],
  ["a BigInt", 1n, ""],
  ["NaN", Number.NaN, ""],
  ["Infinity", Number.POSITIVE_INFINITY, ""],
  ["a Map", new Map(), ""],
  ["a Date", new Date(), ""],
  ["a Buffer", Buffer.from("x"), ""],
  ["an instance of a class", new Money(), ""],
  ["an object that says how it is written", { toJSON: () => 1 }, ""],
  ["a cycle", cycle, ".self"],
  ["undefined in an array", [1, undefined], "[1]"],
  ["a hole in an array", Object.assign(new Array(3), [1]), "[1]"],
  ["NUL in a text", "a\0b", ""],
  ["half a character in a text", "🦩".slice(0, 1), ""],
  ["half a character in a key", { x: { "\ud800": 1 } }, '.x["\ufffd"]'],
  ["a getter that throws", Object.defineProperty({}, "card", { get: explode, enumerable: true }), ".card"],
  ["a proxy that throws", untouchable(), ""],
  ["a list without an end", new Proxy([], { get: (_, key) => (key === "length" ? 2 ** 53 - 1 : explode()) }), ""],
  ["more than 16 MB", ["x".repeat(9_000_000), "x".repeat(9_000_000)], "[1]"],
];

function nested(levels: number, innermost: unknown = 1): unknown {
  return Array.from({ length: levels }).reduce((inner, _, level) => (level % 2 === 0 ? [inner] : { inner }), innermost);
}

async function refusal(args: readonly unknown[]): Promise<Error> {
  return await durableTasks()
    .add(args)
    .then(
      () => expect.fail("was stored"),
      (error: Error) => error,
    );
}

describe("arguments of a task that is stored", () => {
  test("arrive as they are, whatever JSON can hold", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue()), async (args) => {
        const { add, stored } = durableTasks();
        await add(args);
        expect(JSON.stringify(stored[0]?.args)).toBe(JSON.stringify(args));
      }),
    );
  });

  test.each(refused)("are refused with their path: %s", async (_, value, within) => {
    const { add, stored } = durableTasks();
    const path = `args[1].user["first name"]${within}`;
    await expect(add([0, { user: { "first name": value } }])).rejects.toThrow(
      expect.objectContaining({ code: "TASK_CONFIG", message: expect.stringContaining(`${path} `) }),
    );
    expect(stored).toEqual([]);
  });

  test("may be 2,000 levels deep, and are refused beyond that", async () => {
    const { add, stored } = durableTasks();
    const deep = nested(2_000);
    await add([deep, deep]);
    expect(JSON.stringify(stored[0]?.args)).toBe(JSON.stringify([deep, deep]));
    for (const levels of [2_001, 50_000]) {
      const error = await refusal([nested(levels)]);
      expect(error).toMatchObject({ code: "TASK_CONFIG", message: expect.stringContaining("2000 levels deep") });
      expect(error.message.length).toBeLessThan(400);
    }
  });

  test("are refused without a word of what they hold", async () => {
    const secrets: unknown[] = [
      new URL("https://user:hunter2@db/"),
      Buffer.from("hunter2"),
      new Error("password hunter2"),
      { token: Symbol("hunter2") },
      { token: 0x68756e74657232n },
      { toString: () => "hunter2", toJSON: () => "hunter2" },
      "hunter2\0",
    ];
    for (const secret of secrets) {
      expect((await refusal([secret])).message).toMatch(/^args\[0\]/);
      expect((await refusal([secret])).message).not.toMatch(/hunter2|29400045130642994/);
    }
  });

  test("are copied: what the caller changes afterwards is not seen", async () => {
    const { add, stored } = durableTasks();
    const user = { name: "Ada" };
    await add([user]);
    user.name = "Eve";
    expect(stored[0]?.args).toEqual([{ name: "Ada" }]);
  });

  test("may be left out at the end, and as properties", async () => {
    const { add, stored } = durableTasks();
    await add([{ a: undefined, b: 1 }, undefined]);
    expect(stored[0]?.args).toEqual([{ b: 1 }]);
  });

  test("may name a property __proto__, and share an object without containing themselves", async () => {
    const { add, stored } = durableTasks();
    const shared = JSON.parse('{"__proto__":{"admin":true}}') as unknown;
    await add([shared, shared]);
    expect(JSON.stringify(stored[0]?.args)).toBe('[{"__proto__":{"admin":true}},{"__proto__":{"admin":true}}]');
  });
});
