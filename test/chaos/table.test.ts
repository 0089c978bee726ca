import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CHECKS, NOTES } from "../../chaos/checks.js";
import { FAULTS } from "../../chaos/faults.js";
import { ENGINES } from "../../chaos/kinds.js";

const page = readFileSync(new URL("../../docs/reliability.md", import.meta.url), "utf8");
const [, tables = ""] = /<!-- chaos -->\n(.*)<!-- \/chaos -->/s.exec(page) ?? [];
const [done = [], found = []] = tables.split("\n\n").map(rowsOf);

test("docs/reliability.md has a column for each engine that chaos knows", () => {
  const titles = Object.values(ENGINES).map(({ title }) => title);
  expect([done[0]?.slice(1), found[0]?.slice(1)]).toEqual([titles, titles]);
});

test("docs/reliability.md has a row for each fault, and each came on every engine", () => {
  const rows = done.slice(4);
  expect(rows.map(([title]) => title)).toEqual(Object.values(FAULTS).map(({ title }) => title));
  expect(rows.filter((row) => row.includes("0"))).toEqual([]);
});

test("docs/reliability.md has a row for each check, all 0 but where a cell says why it is not", () => {
  const names = Object.keys({ ...CHECKS, ...NOTES });
  const rows = found.slice(2);
  expect(rows.map(([name]) => name)).toEqual(names);
  const counts = rows.slice(0, Object.keys(CHECKS).length).flatMap((row) => row.slice(1));
  expect(counts.filter((cell) => !/^(0|\d+: (?!unexplained).+)$/.test(cell))).toEqual([]);
});

function rowsOf(table: string): string[][] {
  const lines = table.split("\n").filter((line) => line.startsWith("| "));
  return lines.map((line) => line.slice(2, -2).split(" | "));
}
