// npx tsx chaos/table.ts FILE…: writes the tables of docs/reliability.md from what `--json` wrote in each of these files.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CHECKS, NOTES } from "./checks.js";
import { FAULTS } from "./faults.js";
import { ENGINES, type EngineName } from "./kinds.js";
import type { Figures } from "./report.js";

type Column = readonly Figures[];

const UNHEARD =
  "graphile-worker stores a success itself, so a worker that leaves without its server does not hear that it is not stored";
const KEPT = "a worker that left while the server was restarted kept a connection of ioredis open";
/** Why a check may find something on an engine, by both their names. */
const REASONS: Partial<Record<keyof typeof CHECKS, Partial<Record<EngineName, string>>>> = {
  "run again after its end was stored": { "graphile-worker": UNHEARD, "graphile-worker-016": UNHEARD },
  "process that does not exit": { bullmq: KEPT, bullmq5: KEPT },
};

/** Both tables, of runs of every engine. */
export function tablesOf(runs: readonly Figures[]): string {
  const names = Object.keys(ENGINES) as EngineName[];
  const columns = names.map((name) => runs.filter(({ engine }) => engine === name));
  const titles = names.map((name) => ENGINES[name].title);
  const row = (title: string, cell: (column: Column, name: EngineName) => unknown): string =>
    line([title, ...columns.map((column, index) => cell(column, names[index] ?? "bullmq"))]);
  const sum = (of: (run: Figures) => number | undefined) => (column: Column) =>
    column.reduce((total, run) => total + (of(run) ?? 0), 0).toLocaleString("en");
  const checks = Object.keys(CHECKS) as (keyof typeof CHECKS)[];
  return [
    line(["what was done, so often", ...titles]),
    line(["---", ...names.map(() => "---")]),
    row(
      "tasks that were accepted",
      sum(({ tasks }) => tasks),
    ),
    row(
      "attempts that were started",
      sum(({ attempts }) => attempts),
    ),
    ...Object.entries(FAULTS).map(([name, { title }]) =>
      row(
        title,
        sum(({ faults }) => faults[name]),
      ),
    ),
    "",
    line(["what was found", ...titles]),
    line(["---", ...names.map(() => "---")]),
    ...checks.map((check) =>
      row(check, (column, name) => {
        const found = sum(({ checks }) => checks[check])(column);
        return found === "0" ? found : `${found}: ${REASONS[check]?.[name] ?? "unexplained"}`;
      }),
    ),
    ...Object.keys(NOTES).map((note) =>
      row(
        note,
        sum(({ notes }) => notes[note]),
      ),
    ),
  ].join("\n");
}

function line(cells: readonly unknown[]): string {
  return `| ${cells.join(" | ")} |`;
}

const [, program, ...files] = process.argv;
if (program === fileURLToPath(import.meta.url)) {
  const runs = files.map((file) => JSON.parse(readFileSync(file, "utf8")) as Figures);
  const path = new URL("../docs/reliability.md", import.meta.url);
  const page = readFileSync(path, "utf8");
  const written = page.replace(/(?<=<!-- chaos -->\n).*(?=<!-- \/chaos -->)/s, () => `${tablesOf(runs)}\n`);
  writeFileSync(path, written);
}
