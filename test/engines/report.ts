import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TaskEngine } from "otel-taskflow";

/** How one kind of engine fared in its contract. */
export interface EngineReport extends Pick<TaskEngine, "name" | "system" | "capabilities"> {
  /** The world's. */
  readonly title: string;
  /** Why no case ran that needs another process; `undefined` where they could. */
  readonly singleProcess?: string | undefined;
  readonly sections: readonly SectionReport[];
}

/** Numbers of cases. */
export interface SectionReport {
  readonly title: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Anything with cases below it, as the test runner keeps it. */
interface Section {
  readonly name: string;
  readonly tasks: readonly Case[];
}

interface Case {
  readonly mode?: string;
  readonly result?: { readonly state: string };
}

/** Writes a report to the folder that ENGINE_REPORT names; nothing where it names none. */
export function writeReport(report: EngineReport): void {
  const folder = process.env.ENGINE_REPORT;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  const name = report.title.replace(/[^\w.-]+/g, "-").toLowerCase();
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(report, null, 2)}\n`);
}

/** The reports of a folder, by title. */
export function readReports(folder: string): EngineReport[] {
  const files = readdirSync(folder).filter((file) => file.endsWith(".json"));
  const reports = files.map((file) => JSON.parse(readFileSync(join(folder, file), "utf8")) as EngineReport);
  return reports.sort((a, b) => a.title.localeCompare(b.title));
}

/** What became of a section's cases. */
export function reportOf({ name, tasks }: Section): SectionReport {
  const count = (state: string): number => tasks.filter((one) => stateOf(one) === state).length;
  return { title: name, passed: count("pass"), failed: count("fail"), skipped: count("skip") };
}

function stateOf({ mode, result }: Case): string | undefined {
  return result?.state ?? mode;
}
