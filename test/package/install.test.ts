import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, inject, test } from "vitest";
import { createProject } from "./project.js";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
const ran = (attempt: number) => ({ funcName: "greet", attempt, tags: { plan: "pro" }, name: "Ada" });

test.each(["esm", "cjs"])("a fresh %s application runs a task; without an SDK nothing is printed", async (format) => {
  const project = await createProject(format);
  expect(await project.json("main.js")).toEqual({ seen: [ran(0), ran(1)], loaded: 6, sdk: "function", version });
});

test("a CommonJS project tests its tasks with Jest 30", async () => {
  const project = await createProject("jest", { jest: "30" });
  const { code, stderr } = await project.node("node_modules/jest/bin/jest.js");
  expect(stderr).toContain("Tests:       1 passed, 1 total");
  expect(code).toBe(0);
});

test("the tarball holds the built library, its manifest, and what the README leads to", () => {
  const files = execFileSync("tar", ["-tzf", inject("tarball")], { encoding: "utf8" })
    .trim()
    .split("\n");
  const top = new Set(files.map((file) => file.split("/")[1]));
  const papers = ["CHANGELOG.md", "LICENSE", "README.md", "package.json"];
  expect([...top].sort()).toEqual([...papers, "dist", "docs", "examples", "src"].sort());
  const links = readFileSync("README.md", "utf8").matchAll(/\]\(([\w./-]+)\)/g);
  const missing = [...links].filter(([, link = ""]) => !files.some((file) => file.startsWith(`package/${link}`)));
  expect(missing).toEqual([]);
  const built = files.filter((file) => file.startsWith("package/dist/"));
  expect(built.filter((file) => !/^package\/dist\/(esm|cjs)\/.*(\.js|\.d\.ts|package\.json)$/.test(file))).toEqual([]);
});
