import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import * as semconv from "../../src/core/semconv.js";
import { type Block, blocksOf } from "../support/pages.js";

interface Program {
  readonly title: string;
  readonly code: string;
  readonly output: string;
}

const PAGES = [
  "README.md",
  "docs/adopting-from.md",
  "docs/options.md",
  "docs/questions.md",
  "docs/telemetry.md",
  "docs/from-fastapi-taskflow.md",
];
const readme = readFileSync("README.md", "utf8");
const blocks = blocksOf(readme);
const programs = PAGES.flatMap((page) => programsOf(page, blocksOf(readFileSync(page, "utf8"))));

// A program prints the text block that comes next; without one, nothing.
function programsOf(page: string, of: Block[]): Program[] {
  return of.flatMap(({ language, text: code }, index) => {
    const next = of[index + 1];
    const output = next?.language === "text" ? next.text : "";
    return language === "ts" ? [{ title: `${page}, block ${index}`, code, output }] : [];
  });
}

// Inside the project, so that the snippets find its packages and its tsconfig as a user's file would.
const folder = mkdtempSync(join("test", "docs", ".snippets-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(...args: string[]): Promise<string> {
  const env = { ...process.env, NO_COLOR: "1", OTEL_EXPORTER_OTLP_ENDPOINT: "", OTEL_TRACES_EXPORTER: "" };
  const command = ["--import", "tsx", ...args];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, command, { timeout: 150_000, env });
  expect(stderr).toBe("");
  return stdout;
}

// What differs from run to run: ids, times, bars, and the width of what stands beside them.
function constant(output: string): string[] {
  return output
    .split("\n")
    .filter((line) => !line.startsWith("trace "))
    .map((line) =>
      line
        .replace(/[█░·▏]/g, "")
        .replace(/\+?\b[\d.]+(µs|ms|s)\b/g, "")
        .replace(/\+/g, ""),
    )
    .map((line) =>
      line
        .replace(/(?<=\S) {2,}/g, " ")
        .replace(/│ +/g, "│ ")
        .trim(),
    )
    .filter((line) => line !== "" && line !== "0" && !/^│? ?waited$/.test(line));
}

test("there are programs, and most of them print something", () => {
  expect([programs.length, programs.filter(({ output }) => output !== "").length]).toEqual([6, 4]);
});

test.each(programs)("the program in $title prints what the page says", async ({ title, code, output }) => {
  const file = join(folder, `${title.replace(/\W+/g, "-")}.ts`);
  writeFileSync(file, code);
  expect(constant(await run(file))).toEqual(constant(output));
});

test("npm start prints the trace that the README shows", async () => {
  const { start } = JSON.parse(readFileSync("package.json", "utf8")).scripts;
  const args = String(start).replace(/^tsx /, "").split(" ");
  const printed = constant(await run(...args)).join("\n");
  const shown = constant(blocks.find(({ text }) => text.includes("POST /report"))?.text ?? "");
  for (const line of shown) expect(printed).toContain(line);
});

test("the README's two commands are scripts", () => {
  const commands = blocks.filter(({ language }) => language === "sh").map(({ text }) => text.trim());
  expect(commands.slice(0, 2)).toEqual(["npm install && npm start", "npm install && npm test"]);
  expect(Object.keys(JSON.parse(readFileSync("package.json", "utf8")).scripts)).toEqual(
    expect.arrayContaining(["start", "test"]),
  );
});

test("the README is what a user reads at once", () => {
  expect(readme.split("\n").length).toBeLessThan(250);
});

test("every attribute the README names is one that is emitted", () => {
  const emitted: unknown[] = Object.values(semconv);
  const named = [...readme.matchAll(/`(task\.[a-z_.]+)[<*]?/g)].map(([, name = ""]) => name);
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !emitted.includes(name.replace(/^(task\.tag\.).+/, "$1")))).toEqual([]);
});
