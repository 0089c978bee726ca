import { isTaskConfigError } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { type DoorOptions, doorOf, type JobView } from "../../src/adapters/door.js";
import { collectDiag } from "../support/telemetry.js";

const job: JobView = { library: "bullmq", queue: "mail", name: "welcome", id: "7", data: { plan: "pro" }, attempt: 0 };
// options as JavaScript, or a configuration file, gives them
const odd = (options: object): DoorOptions => options;

describe("what stands for a call site", () => {
  test.each([
    ["an option that is misspelled", { tag: () => ({}) }, 'unknown option "tag"'],
    ["a name that is no function", { name: "mail" }, "name: expected a function, received a string of 4 characters"],
    ["a relation that is none", { relation: "child" }, 'relation: expected "parent", "link" or "none"'],
    ["a status that is none", { retryStatus: "ok" }, 'retryStatus: expected "error" or "unset"'],
    ["a switch that is a text", { producer: "false" }, "producer: expected true or false"],
    ["a provider that is none", { tracerProvider: {} }, "tracerProvider: expected a provider with getTracer()"],
  ])("refuses %s at once", (_what, options, message) => {
    const make = (): unknown => doorOf("withTasks()", odd(options));
    expect(make).toThrow(message);
    expect(make).toThrow(expect.toSatisfy(isTaskConfigError));
  });

  test("passes on what its functions answer", () => {
    const door = doorOf("withTasks()", {
      name: ({ queue }) => queue,
      tags: ({ data }) => ({ plan: Reflect.get(Object(data), "plan"), size: 3 }),
      ignore: ({ name }) => name === "ping",
      relation: "link",
    });
    expect(door.name?.(job)).toBe("mail");
    expect(door.tags?.(job)).toEqual({ plan: "pro", size: "3" });
    expect(door.ignore?.(job)).toBe(false);
    expect(door.relation?.(job)).toBe("link");
    expect(door.carrier).toBeUndefined();
  });

  test.each<[string, DoorOptions]>([
    ["throws", { name: (): never => fail() }],
    ["returns a promise", odd({ name: async () => fail() })],
    ["returns no text", odd({ name: () => 7 })],
    ["returns tags that are none", odd({ tags: () => ({ plan: {} }) })],
    ["returns a relation that is none", odd({ relation: () => "child" })],
  ])("tells once of a function that %s, and goes on without it", (_what, options) => {
    const messages = collectDiag();
    const door = doorOf("withTasks()", options);
    for (const answer of [door.name, door.tags, door.relation]) {
      expect([answer?.(job), answer?.(job)]).toEqual([undefined, undefined]);
    }
    expect(messages.join()).toContain("gave no answer");
    expect(messages).toHaveLength(1);
  });
});

function fail(): never {
  throw new Error("no");
}
