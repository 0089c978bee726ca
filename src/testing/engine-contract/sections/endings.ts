import { equal } from "../assertions.js";
import { every, type Section } from "../case.js";

/** Errors that a store may choke on, by the task's name that fails with them. */
const HARD: Readonly<Record<string, () => unknown>> = {
  "NUL in a message": () => new Error("a\0b"),
  "JSON.parse of NUL": () => thrownBy(() => JSON.parse("\0")),
  "half an emoji": () => new Error("\ud83d half"),
  "cut inside an emoji": () => new Error(`x${"😀".repeat(5_000)}`),
  "NUL in a name": () => Object.assign(new Error("named"), { name: "a\0\udc00" }),
  "NUL in a stack": () => Object.assign(new Error("stacked"), { stack: "a\0\ud800" }),
  "NUL in a property": () => Object.assign(new Error("property"), { body: "a\0\ud800", "k\0": 1 }),
  "NUL in a cause": () => new Error("outer", { cause: new Error("in\0ner", { cause: "\ud800" }) }),
  "a cause of itself": () => withItself(new Error("circular")),
  "a toJSON that throws": () => Object.assign(new Error("m"), { toJSON: () => thrower(), big: 1n }),
  "a text that is thrown": () => "\0\ud800",
};

/** An attempt's end is stored, whatever it says. */
export const endingCases: Section = {
  title: "an end that is hard to store",
  cases: [
    every("is stored once, and each hook is called once, whatever was thrown", async (rig) => {
      const told: string[] = [];
      const tasks = rig.manager({
        onRetry: ({ context }) => void told.push(`${context.funcName}: retry after ${context.attempt}`),
        onFailure: ({ context }) => void told.push(`${context.funcName}: failure of ${context.attempt}`),
      });
      const ids: string[] = [];
      for (const [name, make] of Object.entries(HARD)) {
        const task = tasks.task({ name, retries: 1, delay: 10 }, () => Promise.reject(make()));
        ids.push(await tasks.addTask(task));
      }
      await rig.finish(tasks);
      const names = Object.keys(HARD);
      const expected = names.flatMap((name) => [`${name}: retry after 0`, `${name}: failure of 1`]);
      equal(told.sort(), expected.sort());
      const outcomes = names.map((name) => rig.named(`process ${name}`).map((span) => span.attributes["task.outcome"]));
      equal(
        outcomes,
        names.map(() => ["retry", "failure"]),
      );
      for (const id of ids) await rig.isStored(id, "failed", undefined);
    }),
  ],
};

function thrownBy(fn: () => unknown): unknown {
  try {
    return fn();
  } catch (error) {
    return error;
  }
}

function withItself(error: Error): Error {
  return Object.assign(error, { self: error, cause: error });
}

function thrower(): never {
  throw new Error("no JSON");
}
