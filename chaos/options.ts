// The command's options, checked and complete.
import { parseArgs } from "node:util";
import { FAULTS, type Fault, type FaultName } from "./faults.js";
import { ENGINES, type EngineName } from "./kinds.js";

export interface ChaosOptions {
  readonly engine: EngineName;
  readonly seed: number;
  /** Tasks that are enqueued, but for those that tasks add; and ms to do it in. */
  readonly tasks: number;
  readonly over: number;
  /** The faults that come again and again in a shuffled order, or in the short form once. */
  readonly faults: readonly FaultName[];
  readonly short: boolean;
  /** Where the result goes as JSON. */
  readonly json: string | undefined;
  /** Where the journals go and stay; else they go where a check fails. */
  readonly journals: string | undefined;
}

const MAX_MINUTES = 60;
const TASKS_A_SECOND = 20;
const SHORT = {
  tasks: 150,
  over: 8_000,
  faults: ["lost", "cut", "kill", "deploy", "restart", "lost", "kill"],
} as const;

/** @throws Error that says what was expected. */
export function readOptions(args: readonly string[]): ChaosOptions {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      engine: text,
      seed: text,
      minutes: text,
      tasks: text,
      faults: text,
      json: text,
      journals: text,
      short: { type: "boolean" },
    },
  });
  const { short = false, json, journals } = values;
  const over = short ? SHORT.over : number("minutes", values.minutes ?? "1.5", MAX_MINUTES) * 60_000;
  const tasks = short ? SHORT.tasks : Math.round((over / 1_000) * TASKS_A_SECOND);
  return {
    ...{ engine: oneOf("engine", values.engine, ENGINES), short, json, journals, over },
    seed: number("seed", values.seed ?? String(Date.now() % 1_000_000), 2 ** 31),
    tasks: values.tasks === undefined ? tasks : number("tasks", values.tasks, 1_000_000),
    faults: values.faults?.split(",").map((name) => oneOf("faults", name, FAULTS)) ?? (short ? SHORT.faults : often()),
  };
}

function often(): FaultName[] {
  const names = Object.keys(FAULTS) as FaultName[];
  return names.flatMap((name) => {
    const { often = 1 }: Fault = FAULTS[name];
    return Array.from({ length: often }, () => name);
  });
}

function number(option: string, given: string, most: number): number {
  const value = Number(given);
  if (given !== "" && value >= 0 && value <= most) return value;
  throw new Error(`--${option}: expected a number from 0 to ${most}, received "${given}"`);
}

function oneOf<K extends string>(option: string, given: string | undefined, known: Readonly<Record<K, unknown>>): K {
  const names = Object.keys(known) as K[];
  const found = names.find((name) => name === given);
  if (found !== undefined) return found;
  throw new Error(
    `--${option}: expected one of ${names.join(", ")}, received ${given === undefined ? "none" : `"${given}"`}`,
  );
}
