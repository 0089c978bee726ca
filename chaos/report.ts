// What a run showed: figures for a table, and lines for a reader.
import { couldStoreIn } from "./calm.js";
import { CHECKS, type Check, type Evidence, NOTES } from "./checks.js";
import { historyOf } from "./history.js";
import { ofKind } from "./journal.js";
import type { ChaosOptions } from "./options.js";
import type { Remains } from "./run.js";

/** One run, as `--json` writes it and table.ts reads it. */
export interface Figures {
  readonly engine: string;
  readonly seed: number;
  readonly seconds: number;
  /** Tasks that were accepted, those that tasks added included. */
  readonly tasks: number;
  /** Attempts that were started. */
  readonly attempts: number;
  /** How often each fault came. */
  readonly faults: Readonly<Record<string, number>>;
  /** How much each check, and each note, found. */
  readonly checks: Readonly<Record<string, number>>;
  readonly notes: Readonly<Record<string, number>>;
}

export interface Report {
  readonly figures: Figures;
  readonly found: ReadonlyMap<string, readonly string[]>;
}

const SHOWN = 5;

export function report({ engine, seed }: ChaosOptions, remains: Remains): Report {
  const history = historyOf(remains);
  const evidence: Evidence = { ...history, couldStore: couldStoreIn(remains.entries) };
  const found = new Map(Object.entries(CHECKS).map(([name, check]) => [name, check(evidence)]));
  const faults = ofKind(remains.entries, "fault").filter(({ over }) => over);
  return {
    found,
    figures: {
      ...{ engine, seed, seconds: remains.seconds },
      tasks: history.tasks.filter(({ accepted }) => accepted !== undefined).length,
      attempts: history.tasks.reduce((sum, { attempts }) => sum + attempts.length, 0),
      faults: countBy(faults.map(({ fault }) => fault)),
      checks: Object.fromEntries([...found].map(([name, lines]) => [name, lines.length])),
      notes: countAll(NOTES, evidence),
    },
  };
}

/** How much all checks found. */
export function failuresOf({ found }: Report): number {
  return [...found.values()].reduce((sum, lines) => sum + lines.length, 0);
}

export function reportLines({ figures, found }: Report): string[] {
  const faults = Object.entries(figures.faults).map(([name, count]) => `${name} ${count}`);
  return [
    `${figures.tasks} tasks, ${figures.attempts} attempts in ${figures.seconds} s; faults: ${faults.join(", ")}`,
    ...[...found].flatMap(([name, lines]) => [
      `${lines.length === 0 ? "ok   " : "WRONG"} ${String(lines.length).padStart(4)} ${name}`,
      ...lines.slice(0, SHOWN).map((line) => `             ${line}`),
    ]),
    ...Object.entries(figures.notes).map(([name, count]) => `      ${String(count).padStart(4)} ${name}`),
  ];
}

function countAll(checks: Readonly<Record<string, Check>>, evidence: Evidence): Record<string, number> {
  return Object.fromEntries(Object.entries(checks).map(([name, check]) => [name, check(evidence).length]));
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
