import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { codeIn, tableRows } from "../support/markdown.js";
import { blocksOf } from "../support/pages.js";

const PAGE = "docs/other-queues.md";
const page = readFileSync(PAGE, "utf8");
const blocks = blocksOf(page);
const programs = blocks.flatMap(({ language, text: code }, index) => {
  const next = blocks[index + 1];
  return language === "ts" && next?.language === "text" ? [{ index, code, output: next.text }] : [];
});

test("there is a program for callbacks, for methods, for a queue of your own and for jobs that are settled elsewhere", () => {
  expect(programs).toHaveLength(4);
});

test.each(programs)(
  "the program in block $index prints what the page says, and ends by itself",
  async ({ code, output }) => {
    // inside the project, so that the snippet finds its packages and its tsconfig as a user's file would
    const folder = mkdtempSync(join("test", "docs", ".snippets-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, "program.ts");
    writeFileSync(file, code);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--import", "tsx", file], {
      timeout: 150_000,
    });
    expect([stderr, stdout]).toEqual(["", output]);
  },
);

test("each broker has the system in the table that its code gives", () => {
  const rows = tableRows(PAGE, "Brokers");
  const cellsOf = (title: string): string[] => rows.find(([first]) => first === title)?.slice(1) ?? [];
  const systems = cellsOf("code").map((cell) => {
    const [, path = ""] = /\]\(\.\.\/(.+)\)/.exec(cell) ?? [];
    const folder = path.slice(0, path.lastIndexOf("/"));
    const files = path.includes("/recipes/") ? [path] : readdirSync(folder).map((name) => join(folder, name));
    return /system: "(\w+)"/.exec(files.map((file) => readFileSync(file, "utf8")).join("\n"))?.[1];
  });
  expect(cellsOf("`system`").flatMap(codeIn)).toEqual(systems);
  expect(systems).toHaveLength(4);
});

test("every example that can be started is linked", () => {
  const here = ["cron-croner", "cron-node-cron", "class-methods", "nestjs"].map((name) => `examples/${name}.ts`);
  const threads = ["worker-threads", "child-process", "piscina"].map((name) => `examples/threads/${name}.ts`);
  expect([...here, ...threads].filter((path) => !page.includes(`(../${path})`))).toEqual([]);
});
