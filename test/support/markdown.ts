import { readFileSync } from "node:fs";

/** Rows of the tables under a heading, a row as its cells; header rows left out. */
export function tableRows(file: string, heading: string): string[][] {
  const text = readFileSync(file, "utf8");
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("|"));
  const cells = rows.map((row) =>
    row
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
  return cells.filter((_, index) => !isRule(cells[index]) && !isRule(cells[index + 1]));
}

/** What stands in `backticks` in a cell. */
export function codeIn(cell = ""): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
}

function isRule(cells: readonly string[] | undefined): boolean {
  return cells?.every((cell) => /^-+$/.test(cell)) ?? false;
}
