import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { expect, inject, test } from "vitest";
import { createProject } from "./project.js";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
const { version, peerDependencies, peerDependenciesMeta, exports } = manifest;
/** Entries that no library is named after. */
const OWN_ENTRIES = [
  "",
  "console",
  "sdk",
  "engine",
  "instrumentation",
  "nestjs",
  "testing/engine-contract",
  "package.json",
];
/** Of each version, Nest's own and the schedule that goes with it. */
const NESTS = { "10": "4", "11": "6", "12": "12" };
const ran = (attempt: number) => ({ funcName: "greet", attempt, tags: { plan: "pro" }, name: "Ada" });

test.each(["esm", "cjs"])("a fresh %s application runs a task; without an SDK nothing is printed", async (format) => {
  const project = await createProject(format);
  expect(await project.json("main.js")).toEqual({ seen: [ran(0), ran(1)], loaded: 9, sdk: "function", version });
});

test.each(["esm", "cjs"])("a fresh %s application loads the instrumentation beside its peer", async (format) => {
  const project = await createProject(format, { "@opentelemetry/instrumentation": "0.223.0", bullmq: "6" });
  expect(await project.json("instrumented.js")).toEqual({ enabled: true, same: true });
});

test.each(
  Object.entries(NESTS).flatMap(([nest, schedule]) => ["esm", "cjs"].map((format) => ({ nest, schedule, format }))),
)("a fresh $format application on Nest $nest runs tasks and @Cron methods until a signal", async (given) => {
  const { nest, schedule, format } = given;
  const own = { "@nestjs/common": nest, "@nestjs/core": nest, "@nestjs/schedule": schedule };
  const project = await createProject(format, { ...own, "reflect-metadata": "0.2", rxjs: "7" });
  const { stdout, stderr } = await project.node("nest.js");
  const lines = stripVTControlCharacters(stdout).trim().split("\n");
  const seen = ["Mailer.remind", "send"];
  expect([stderr, JSON.parse(lines.pop() ?? "")]).toEqual(["", { seen, signal: "SIGTERM" }]);
  const named = lines.map((line) => / WARN \[Mailer\] \[(\S+) task_attempt=0 task_id=\S+\] working/.exec(line)?.[1]);
  expect(named).toEqual(seen);
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
  const papers = ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "package.json"];
  expect([...top].sort()).toEqual([...papers, "dist", "docs", "examples", "src", "telemetry"].sort());
  const links = readFileSync("README.md", "utf8").matchAll(/\]\(([\w./-]+)\)/g);
  const missing = [...links].filter(([, link = ""]) => !files.some((file) => file.startsWith(`package/${link}`)));
  expect(missing).toEqual([]);
  const built = files.filter((file) => file.startsWith("package/dist/"));
  expect(
    built.filter((file) => !/^package\/dist\/(esm|cjs)\/.*(\.js|\.js\.map|\.d\.ts|package\.json)$/.test(file)),
  ).toEqual([]);
});

test("every library that an entry works with is an optional peer, by the oldest version it works with", () => {
  const { "@opentelemetry/api": api, "@electric-sql/pglite": pglite, ...others } = peerDependencies;
  const { "@opentelemetry/instrumentation": instrumentation, ...named } = others;
  const { "@nestjs/common": nest, "@nestjs/core": nestCore, ...libraries } = named;
  const entries = Object.keys(exports).map((path) => path.slice(2));
  expect(Object.keys(libraries).sort()).toEqual(entries.filter((name) => !OWN_ENTRIES.includes(name)).sort());
  for (const range of [pglite, instrumentation, nest, nestCore, ...Object.values(libraries)])
    expect(range).toMatch(/^>=\d+\.\d+\.0$/);
  const optional = Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional);
  expect(optional).toEqual(Object.keys(peerDependencies).filter((name) => name !== "@opentelemetry/api"));
  expect(api).toBe("^1.9.0");
});

test("npm picks a pg-boss that the entry works with, whatever Node it runs on", () => {
  const folder = mkdtempSync(join(inject("workspace"), "pg-boss-"));
  const args = ["install", "--package-lock-only", "--prefer-offline", "--loglevel=error", inject("tarball"), "pg-boss"];
  execFileSync("npm", args, { cwd: folder });
  const { packages } = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  const [major, minor] = packages["node_modules/pg-boss"].version.split(".").map(Number);
  expect(major * 1_000 + minor).toBeGreaterThanOrEqual(12_025);
});
