// `npm test` in the newer world, where it may differ: Node 24, @opentelemetry/api 1.10, SDK 3. Runs in .compat/, a copy of this project
// with test/compat/package.json's dependencies, which are installed again only when its lock file changes. Each folder of
// test/compat/cells/ is installed there too, apart from the others, with this project's build in it.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));
const target = join(root, ".compat");
const bin = join(target, "node_modules", ".bin");
const cells = join(target, "cells");
const kept = new Set(["node_modules", "cells"]);
const notCopied = new Set([".git", ".compat", "node_modules", "dist", "coverage", "package-lock.json"]);

checkManifest();
await Promise.all([install(here, target, "--ignore-scripts=false"), ...cellNames().map(installCell)]);
copyProject();
build();
cellNames().forEach(furnishCell);
tellVersions();
run("node_modules/typescript/bin/tsc", ["--noEmit"]);
run("node_modules/typescript/bin/tsc", ["--noEmit", "--project", "test/adoption/service"]);
// engines that ask for no newer Node are left out; of the others, the contract
const leftOut = ["bullmq/**", "*/!(contract*).test.ts", "graphile-worker/contract-016.test.ts"];
const exclude = leftOut.map((files) => `--exclude=test/engines/${files}`);
run("node_modules/vitest/vitest.mjs", ["run", ...exclude, ...process.argv.slice(2)]);

// A package missing in .compat would silently be found one folder up, with the older SDK.
function checkManifest() {
  const { devDependencies } = readJson(join(root, "package.json"));
  const compat = readJson(join(here, "package.json"));
  const known = new Set([...Object.keys(compat.devDependencies), ...compat.leftOut]);
  const missing = Object.keys(devDependencies).filter((name) => !known.has(name));
  if (missing.length === 0) return;
  throw new Error(`add to devDependencies or leftOut of test/compat/package.json: ${missing.join(", ")}`);
}

function cellNames() {
  const entries = readdirSync(join(here, "cells"), { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

// what a cell installs is never built: each works with what its packages hold
function installCell(name) {
  return install(join(here, "cells", name), join(cells, name), "--ignore-scripts", "--prefer-offline");
}

async function install(from, to, ...flags) {
  const manifests = ["package.json", "package-lock.json"];
  const wanted = manifests.map((name) => readFileSync(join(from, name), "utf8")).join("");
  const stamp = join(to, "node_modules", ".installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  mkdirSync(to, { recursive: true });
  for (const name of manifests) cpSync(join(from, name), join(to, name));
  cpSync(join(root, ".npmrc"), join(to, ".npmrc"));
  const args = ["ci", "--engine-strict=false", "--loglevel=error", ...flags];
  const [status] = await once(spawn("npm", args, { cwd: to, stdio: "inherit" }), "exit");
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(stamp, wanted);
}

function build() {
  const built = existsSync(join(root, "dist")) ? statSync(join(root, "dist")).mtimeMs : 0;
  if (newest(join(root, "src")) > built) execute(process.execPath, [join(root, "build.mjs")], process.env, root);
}

function newest(folder) {
  const files = readdirSync(folder, { recursive: true }).map((name) => join(folder, name));
  return Math.max(...files.map((file) => statSync(file).mtimeMs));
}

// a copy, so that the package finds the cell's own @opentelemetry/api
function furnishCell(name) {
  const cell = join(cells, name);
  const installed = join(cell, "node_modules", "otel-taskflow");
  rmSync(installed, { recursive: true, force: true });
  cpSync(join(root, "dist"), join(installed, "dist"), { recursive: true });
  cpSync(join(root, "package.json"), join(installed, "package.json"));
  // the nearest one: Bun would go by the project's, whose paths lead to the sources
  writeFileSync(join(cell, "tsconfig.json"), "{}\n");
  for (const from of [join(here, "cells"), join(here, "cells", name)]) {
    const scripts = readdirSync(from).filter((file) => file.endsWith(".mjs"));
    for (const file of scripts) cpSync(join(from, file), join(cell, file));
  }
}

function copyProject() {
  for (const name of readdirSync(target)) {
    if (!kept.has(name)) rmSync(join(target, name), { recursive: true });
  }
  for (const name of readdirSync(root)) {
    if (!notCopied.has(name) && !name.endsWith(".tmp"))
      cpSync(join(root, name), join(target, name), { recursive: true });
  }
}

function tellVersions() {
  const names = ["node", "@opentelemetry/api", "@opentelemetry/sdk-trace", "@opentelemetry/sdk-node"];
  const versions = names.map(
    (name) => `${name} ${readJson(join(target, "node_modules", name, "package.json")).version}`,
  );
  console.log(`compat: ${versions.join(", ")}`);
}

function run(script, args) {
  // child processes of the tests are to be Node 24 too
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}`, COMPAT_CELLS: cells };
  execute(join(bin, "node"), [script, ...args], env);
}

function execute(command, args, env, cwd = target) {
  const { status, error } = spawnSync(command, args, { cwd, env, stdio: "inherit" });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}
