import { isTaskConfigError } from "../../../index.js";
import { equal } from "../assertions.js";
import { durable, every, type Section } from "../case.js";

class Account {
  readonly id = 7;
}

const cycle: { self?: unknown } = {};
cycle.self = cycle;

const REFUSED: readonly (readonly [string, unknown, path: string])[] = [
  ["a function", { user: { f: () => 1 } }, "args[0].user.f"],
  ["a symbol", [Symbol("s")], "args[0][0]"],
  ["a BigInt", { n: 7n }, "args[0].n"],
  ["a cycle", cycle, "args[0].self"],
  ["a Map", { by: { name: new Map() } }, "args[0].by.name"],
  ["a Set", new Set(), "args[0]"],
  ["a Date", { "sent at": new Date(0) }, 'args[0]["sent at"]'],
  ["NaN", [1, [Number.NaN]], "args[0][1][0]"],
  ["Infinity", { limit: Number.POSITIVE_INFINITY }, "args[0].limit"],
  ["an instance of a class", { account: new Account() }, "args[0].account"],
  ["a Buffer", { body: Buffer.from("a") }, "args[0].body"],
  ["undefined in an array", { list: [1, undefined] }, "args[0].list[1]"],
];

export const argumentCases: Section = {
  title: "arguments",
  cases: [
    every("are as they were at addTask", async (rig) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      const task = tasks.task("look", (...args: number[]) => void seen.push(args));
      const args = [1, 2];
      const adding = tasks.addTask(task, args);
      args.push(3);
      await adding;
      args.shift();
      await rig.finish(tasks);
      equal(seen, [[1, 2]]);
    }),

    durable("arrive equal, however deep, and none of them the caller's own", async (rig) => {
      const tasks = rig.manager();
      const seen: unknown[] = [];
      const task = tasks.task("look", (...args: unknown[]) => void seen.push(args));
      const order = {
        lines: [{ sku: 'ü 🙂 \u0001"\\', count: 2, price: 1.5e-7 }],
        paid: false,
        note: null,
        gone: undefined,
      };
      const empty = [{}, [], "", 0, -1, null, true, "long ".repeat(20_000)] as const;
      const adding = tasks.addTask(task, [order, ...empty, undefined]);
      order.lines.push({ sku: "later", count: 0, price: 0 });
      order.paid = true;
      await adding;
      await rig.finish(tasks);
      const { gone, ...stored } = order;
      equal(seen, [[{ ...stored, lines: order.lines.slice(0, 1), paid: false }, ...empty]]);
    }),

    every("and what a task returns may be anything", async (rig) => {
      const tasks = rig.manager();
      const returned = [cycle, 7n, () => {}, new Map(), undefined, "x".repeat(100_000)];
      for (const [index, value] of returned.entries()) {
        await tasks.addTask(tasks.task(`returns-${index}`, () => value));
      }
      await rig.finish(tasks);
      const outcomes = rig.spans().flatMap(({ attributes }) => attributes["task.outcome"] ?? []);
      equal(
        outcomes,
        returned.map(() => "success"),
      );
    }),

    durable("that JSON would change are refused by their path, and nothing is stored", async (rig) => {
      const tasks = rig.manager();
      const task = tasks.task("look", (_value: unknown) => {});
      for (const [what, value, path] of REFUSED) {
        const error: unknown = await tasks.addTask(task, [value], { taskId: what }).catch((thrown: unknown) => thrown);
        equal([what, isTaskConfigError(error), String(error).includes(`${path} `)], [what, true, true]);
        await rig.isStored(what, undefined);
      }
      await rig.finish(tasks);
      equal(rig.spans(), []);
    }),
  ],
};
