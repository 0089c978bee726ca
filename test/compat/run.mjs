// `npm test` in the newer world, where it may differ: Node 24, @opentelemetry/api 1.10, SDK 3. Runs in .compat/, a copy of this project
// with test/compat/package.json's dependencies, which are installed again only when its lock file changes.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));
const target = join(root, ".compat");
const bin = join(target, "node_modules", ".bin");
const notCopied = new Set([".git", ".compat", "node_modules", "dist", "coverage", "package-lock.json"]);

checkManifest();
install();
copyProject();
tellVersions();
run("node_modules/typescript/bin/tsc", ["--noEmit"]);
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

function install() {
  const manifests = ["package.json", "package-lock.json"];
  const wanted = manifests.map((name) => readFileSync(join(here, name), "utf8")).join("");
  const stamp = join(target, "node_modules", ".installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  mkdirSync(target, { recursive: true });
  for (const name of manifests) cpSync(join(here, name), join(target, name));
  cpSync(join(root, ".npmrc"), join(target, ".npmrc"));
  const args = ["ci", "--engine-strict=false", "--ignore-scripts=false", "--loglevel=error"];
  execute("npm", args, process.env);
  writeFileSync(stamp, wanted);
}

function copyProject() {
  for (const name of readdirSync(target)) {
    if (name !== "node_modules") rmSync(join(target, name), { recursive: true });
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
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` };
  execute(join(bin, "node"), [script, ...args], env);
}

function execute(command, args, env) {
  const { status, error } = spawnSync(command, args, { cwd: target, env, stdio: "inherit" });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}
