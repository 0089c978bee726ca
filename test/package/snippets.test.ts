import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { printedFacts } from "../examples/printed-facts.js";
import { blocksOf } from "../support/pages.js";
import { createProject, type Run } from "./project.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { devDependencies } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const { tsx, "@opentelemetry/sdk-node": sdk } = devDependencies;

const blocks = blocksOf(readFileSync(`${root}README.md`, "utf8"));
const programs = blocks.flatMap(({ language, text: code }, index) => {
  const next = blocks[index + 1];
  return language === "ts" && next?.language === "text"
    ? [{ file: `program-${index}.mts`, code, output: next.text }]
    : [];
});
// one that needs nothing but the package, and ends with its output
const example = "first-task";

/** The lines of an output without times, bars and ids, which the README leaves out of a tree. */
function lines(output: string): string[] {
  const facts = printedFacts(output).map((line) => line.replace(/ ?\bTIME\b/g, "").trim());
  return facts.filter((line) => line !== "" && !line.startsWith("trace ID")).sort();
}

test("the README's programs and an example run in a fresh folder, saved as .mts", { timeout: 300_000 }, async () => {
  const project = await createProject("snippets", { tsx, "@opentelemetry/sdk-node": sdk });
  for (const { file, code } of programs) writeFileSync(join(project.folder, file), code);
  copyFileSync(`${root}examples/${example}.ts`, join(project.folder, `${example}.mts`));
  const run = (file: string): Promise<Run> => project.node("--import", "tsx", file);
  const runs = await Promise.all(programs.map(({ file }) => run(file)));
  expect(runs.map(({ code, stderr }) => ({ code, stderr }))).toEqual(runs.map(() => ({ code: 0, stderr: "" })));
  expect(runs.map(({ stdout }) => lines(stdout))).toEqual(programs.map(({ output }) => lines(output)));
  expect(programs).toHaveLength(3);
  expect(await run(`${example}.mts`)).toMatchObject({
    code: 0,
    stderr: "",
    stdout: expect.stringContaining("attempt"),
  });
});
