import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { printedFacts } from "../examples/printed-facts.js";
import { blocksOf } from "../support/pages.js";
import { createProject, type Run } from "./project.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { devDependencies } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const INSTALLED = /^(otel-taskflow(\/sdk)?|@opentelemetry\/sdk-node)$/;
const { tsx, "@opentelemetry/sdk-node": sdk } = devDependencies;

// those that need nothing but the package and an SDK, and end with their output
const programs = ["README.md", "docs/other-queues.md"].flatMap((page) => {
  const blocks = blocksOf(readFileSync(root + page, "utf8"));
  return blocks.flatMap(({ language, text: code }, index) => {
    const next = blocks[index + 1];
    const alone = [...code.matchAll(/ from "([^"]+)"/g)].every(([, name = ""]) => INSTALLED.test(name));
    const file = `${page.replace(/\W+/g, "-")}-${index}.mts`;
    return language === "ts" && next?.language === "text" && alone ? [{ file, code, output: next.text }] : [];
  });
});
// one that needs nothing but the package, and ends with its output
const example = "first-task";

/** The lines of an output without times, bars and ids, which a page leaves out of a tree. */
function lines(output: string): string[] {
  const facts = printedFacts(output).map((line) => line.replace(/ ?\bTIME\b/g, "").trim());
  return facts.filter((line) => line !== "" && !line.startsWith("trace ID")).sort();
}

test("the programs of the pages and an example run in a fresh folder, saved as .mts", {
  timeout: 300_000,
}, async () => {
  const project = await createProject("snippets", { tsx, "@opentelemetry/sdk-node": sdk });
  for (const { file, code } of programs) writeFileSync(join(project.folder, file), code);
  copyFileSync(`${root}examples/${example}.ts`, join(project.folder, `${example}.mts`));
  const run = (file: string): Promise<Run> => project.node("--import", "tsx", file);
  const runs = await Promise.all(programs.map(({ file }) => run(file)));
  expect(runs.map(({ code, stderr }) => ({ code, stderr }))).toEqual(runs.map(() => ({ code: 0, stderr: "" })));
  expect(runs.map(({ stdout }) => lines(stdout))).toEqual(programs.map(({ output }) => lines(output)));
  expect(programs).toHaveLength(5);
  expect(await run(`${example}.mts`)).toMatchObject({
    code: 0,
    stderr: "",
    stdout: expect.stringContaining("attempt"),
  });
});
