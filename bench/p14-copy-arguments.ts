// addTask copies the arguments of a task that will be stored, against JSON.parse(JSON.stringify(x)).
import { type OpenEngine, type TaskEngine, TaskManager } from "otel-taskflow";
import { copyAsJson } from "otel-taskflow/engine";
import { type Measurement, type Round, timed } from "./harness/measurement.js";

const COPIES = 2;
const LEVELS = 1_000;

type Shape = () => unknown;

const SHAPES: readonly (readonly [string, Shape])[] = [
  ["a list of 500,000 numbers", () => Array(500_000).fill(1)],
  ["a list of 1,000 records", () => Array.from({ length: LEVELS }, (_, number) => record(number))],
  ["500,000 numbers in a list 1,000 levels deep", () => within((inner) => [inner], Array(498_000).fill(1))],
  ["1,000 records, each in the one before", () => within((inner, number) => ({ ...record(number), inner }), null)],
];

export const measurements: readonly Measurement[] = SHAPES.map(([what, shape]) => ({
  what: `\`addTask\` with 1 MB, ${what}, to an engine that keeps nothing, against \`JSON.parse(JSON.stringify(x))\``,
  unit: "ms",
  judgement: "ratio",
  target: 3,
  rounds: 8,
  ours: () => adding(shape),
  peer: () => copying(shape),
}));

function adding(shape: Shape): Round {
  const tasks = new TaskManager({ engine: keepsNothing() });
  const task = tasks.task("task", (_argument: unknown) => {});
  const argument = shape();
  return timed("ms", COPIES, async () => {
    for (let copy = 0; copy < COPIES; copy += 1) await tasks.addTask(task, [argument]);
  });
}

function copying(shape: Shape): Round {
  const argument = shape();
  let kept: unknown;
  return timed("ms", COPIES, () => {
    for (let copy = 0; copy < COPIES; copy += 1) kept = JSON.parse(JSON.stringify(argument));
    if (kept === undefined) throw new Error("nothing was copied");
  });
}

// About 1,000 characters of JSON.
function record(number: number): object {
  const lines = Array.from({ length: 12 }, (_, line) => ({ line, sku: `sku-${number}-${line}`, price: line / 7 }));
  return { id: number, email: `user${number}@example.com`, active: number % 2 === 0, note: "n".repeat(230), lines };
}

function within(around: (inner: unknown, number: number) => unknown, innermost: unknown): unknown {
  return Array.from({ length: LEVELS - 1 }).reduce<unknown>((inner, _, number) => around(inner, number), innermost);
}

function keepsNothing(): TaskEngine {
  const works = { enqueue: () => true, work: () => {}, take: () => undefined, waiting: () => 0 };
  const open = (): OpenEngine => ({ ...works, quiesce: () => [], close: () => {} });
  return { name: "nothing", capabilities: { durable: true, granularity: 0 }, copyArgs: copyAsJson, open };
}
