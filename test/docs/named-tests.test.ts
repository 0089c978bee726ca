import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

/** Tests that a page names as `[file](path): beginning of a title`, several separated by a semicolon. */
function namedTests(page: string): { file: string; title: string }[] {
  const named = readFileSync(page, "utf8").matchAll(/\]\(([\w./-]*test(?:ing)?\/[\w./-]+\.ts)\): ([^;|]+)/g);
  return [...named].map(([, path = "", title = ""]) => ({ file: join(dirname(page), path), title: title.trim() }));
}

/** Every text that could be the title of a test or of the tests around it. */
function titlesOf(file: string): string[] {
  const titles = readFileSync(file, "utf8").matchAll(/"([^"\n]+)"|`([^`\n]+)`/g);
  return [...titles].map(([, quoted, template]) => quoted ?? template ?? "");
}

test.each([
  ["SECURITY.md", 14],
  ["docs/reliability.md", 25],
])("every test that %s names is there", (page, least) => {
  const named = namedTests(page);
  expect(named.length).toBeGreaterThan(least);
  const missing = named.filter(({ file, title }) => !titlesOf(file).some((text) => text.includes(title)));
  expect(missing).toEqual([]);
});

test.each([
  ["SECURITY.md", "claim"],
  ["docs/reliability.md", "what was done"],
])("every row of the table in %s names a test", (page, first) => {
  const text = readFileSync(page, "utf8");
  const [table = ""] = text.slice(text.indexOf(`| ${first} |`)).split("\n\n");
  const rows = table.split("\n").slice(2);
  expect(rows.length).toBeGreaterThan(12);
  expect(rows.filter((row) => !/: [^|]+\|$/.test(row) || !/\btest(ing)?\//.test(row))).toEqual([]);
});
