// Puts what the contract ran into docs/engines.md: `tsx test/engines/table.ts`, with the folder of the reports in
// ENGINE_REPORT. With --check, it only says whether the page is what was run.
import { readFileSync, writeFileSync } from "node:fs";
import { type EngineReport, readReports } from "./report.js";

const PAGE = "docs/engines.md";
const TABLE = /(<!-- contract -->\n)[\s\S]*?(<!-- \/contract -->)/;

const reports = readReports(process.env.ENGINE_REPORT ?? "");
const page = readFileSync(PAGE, "utf8");
const generated = page.replace(TABLE, (_, begin, end) => `${begin}${tableOf(reports)}${end}`);
if (!process.argv.includes("--check")) writeFileSync(PAGE, generated);
else if (generated !== page) throw new Error(`${PAGE} is not what the contract ran:\n${tableOf(reports)}`);

function tableOf(engines: readonly EngineReport[]): string {
  const titles = [...new Set(engines.flatMap(({ sections }) => sections.map(({ title }) => title)))];
  const rows = [
    ["", ...engines.map(({ title }) => title)],
    ["---", ...engines.map(() => "---")],
    ["survives the process", ...engines.map(({ capabilities }) => (capabilities.durable ? "yes" : "no"))],
    ["starts late by at most, as tested", ...engines.map(({ capabilities }) => `${capabilities.granularity} ms`)],
    ...titles.map((title) => [title, ...engines.map((engine) => cell(engine, title))]),
  ];
  return rows.map((row) => `| ${row.join(" | ")} |\n`).join("");
}

function cell({ sections }: EngineReport, title: string): string {
  const { passed = 0, failed = 0, skipped = 0 } = sections.find((section) => section.title === title) ?? {};
  const off = skipped > 0 ? `, ${skipped} off` : "";
  return `${passed} passed${failed > 0 ? `, ${failed} failed` : ""}${off}`;
}
