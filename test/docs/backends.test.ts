import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as semconv from "../../src/core/semconv.js";
import { snippetsOf } from "./page-snippets.js";

const page = readFileSync("docs/backends.md", "utf8");
const snippets = snippetsOf("docs/backends.md");

test("there is a snippet for the SDK", () => {
  expect(snippets.map(({ title }) => title)).toEqual(["@opentelemetry/sdk-node"]);
});

test.each(snippets)("the snippet with $title runs and ends by itself", async ({ run }) => {
  expect(await run()).toBe("");
});

test("every example that is named is there", () => {
  const examples = page.match(/examples\/\w+\.ts/g) ?? [];
  expect(examples.length).toBeGreaterThan(1);
  expect(examples.filter((path) => !existsSync(path))).toEqual([]);
});

test("every task.* name in text and queries is one that is emitted", () => {
  const emitted: unknown[] = Object.values(semconv);
  const named = page.match(/\btask\.[a-z_.]*[a-z]/g) ?? [];
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !emitted.includes(name.replace(/^(task\.tag\.).+/, "$1")))).toEqual([]);
});

test("Jaeger is named in one version, which answers every query of its table", () => {
  const pages = [page, readFileSync("README.md", "utf8")];
  const versions = pages.flatMap((text) => [...text.matchAll(/jaeger:(\d+)\.(\d+)\.\d+/g)]);
  expect(new Set(versions.map(([whole]) => whole)).size).toBe(1);
  // error=true finds nothing before 2.17
  for (const [, major, minor] of versions) expect(Number(major) * 1_000 + Number(minor)).toBeGreaterThanOrEqual(2_017);
  expect(versions).toHaveLength(2);
});

interface Cell {
  readonly folder: string;
  readonly setup: string;
  readonly packages: Readonly<Record<string, string>>;
}

const CELLS = "test/compat/cells";
const cells: Cell[] = readdirSync(CELLS)
  .filter((folder) => existsSync(join(CELLS, folder, "setup.mjs")))
  .map((folder) => ({
    folder,
    setup: readFileSync(join(CELLS, folder, "setup.mjs"), "utf8"),
    packages: JSON.parse(readFileSync(join(CELLS, folder, "package.json"), "utf8")).dependencies,
  }));

test.each(cells)("the page names the version of $folder that was tried", ({ packages }) => {
  const [vendor = "", version = ""] =
    Object.entries(packages).find(([name]) => /sentry|dd-trace|elastic|newrelic/.test(name)) ?? [];
  const [, row = ""] = /\| package \|(.*)\n/.exec(page) ?? [];
  expect(row).toContain(vendor);
  expect(row).toContain(version.replace(/\.\d+$/, ""));
});

test.each([
  ["sentry11", "enableOpenTelemetrySetup: true"],
  ["sentry11", "Sentry.logger[level](message, fields)"],
  ["sentry10", "Sentry.logger[level](message, fields)"],
  ["sentry10", "propagateTraceparent: true"],
  ["dd-trace", 'import "dd-trace/register.js";'],
  ["dd-trace", "tracer.TracerProvider()"],
])("what the page says to write under %s is what was tried: %s", (folder, code) => {
  expect(page).toContain(code);
  expect(cells.find((cell) => cell.folder === folder)?.setup).toContain(code);
});

test("the variables that the page sets for New Relic are those that were tried", () => {
  const named = page.match(/NEW_RELIC_\w+(?==)/g) ?? [];
  expect(named).toHaveLength(3);
  const tried = readFileSync("test/compat/vendors.test.ts", "utf8");
  expect(named.filter((name) => !tried.includes(name))).toEqual([]);
});
