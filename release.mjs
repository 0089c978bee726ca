// npm run release [-- --dry-run] [--skip test,build]: tests, builds, dates the changelog, packs, publishes with npm's
// provenance, commits and tags. A dry run changes nothing but dist, publishes nothing, and tells what would refuse it.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CHANGELOG = "CHANGELOG.md";
const UNRELEASED = "## [Unreleased]\n";
const STEPS = { test, build, changelog, pack, publish };

const { dryRun, skipped } = optionsOf(process.argv.slice(2));
const { name, version, repository } = JSON.parse(readFileSync("package.json", "utf8"));
const staged = mkdtempSync(join(tmpdir(), `${name}-release-`));
process.on("exit", () => rmSync(staged, { recursive: true, force: true }));

const reasons = refusals();
for (const reason of reasons) console.error(`${dryRun ? "would be refused" : "refused"}: ${reason}`);
if (reasons.length > 0 && !dryRun) process.exit(1);
for (const [step, run] of Object.entries(STEPS)) {
  console.log(`--- ${step}${skipped.includes(step) ? ": skipped" : ""}`);
  if (!skipped.includes(step)) run();
}

function optionsOf(args) {
  const skip = args.indexOf("--skip");
  const skipped = skip === -1 ? [] : (args[skip + 1] ?? "").split(",");
  const rest = args.filter((_, index) => skip === -1 || (index !== skip && index !== skip + 1));
  const unknown = [...rest.filter((arg) => arg !== "--dry-run"), ...skipped.filter((step) => !(step in STEPS))];
  if (unknown.length > 0) {
    console.error(`unknown: ${unknown.join(", ")}; expected --dry-run, --skip ${Object.keys(STEPS).join(",")}`);
    process.exit(2);
  }
  return { dryRun: rest.length > 0, skipped };
}

/** Why nothing may be published now. */
function refusals() {
  const log = readFileSync(CHANGELOG, "utf8");
  const [, ahead = ""] = log.split(UNRELEASED);
  const found = {
    "package.json names no repository, which npm's provenance is checked against; see CONTRIBUTING.md": !repository,
    "there are changes that are not committed": git("status", "--porcelain") !== "",
    [`${CHANGELOG} has a section of ${version} already: raise the version`]: log.includes(`## [${version}]`),
    [`v${version} is a tag already`]: git("tag", "--list", `v${version}`) !== "",
    [`${CHANGELOG} has nothing under "Unreleased"`]: !ahead.split("\n## ")[0].includes("\n- "),
  };
  return Object.keys(found).filter((reason) => found[reason]);
}

function test() {
  run("bash", ".ci/run");
}

function build() {
  run("npm", "run", "build");
}

/** What is unreleased becomes the section of this version, with today's date. */
function changelog() {
  const date = new Date().toISOString().slice(0, 10);
  const heading = `## [${version}] - ${date}\n`;
  console.log(`${CHANGELOG}: ${heading.trim()}`);
  if (dryRun) return;
  const log = readFileSync(CHANGELOG, "utf8");
  writeFileSync(CHANGELOG, log.replace(UNRELEASED, `${UNRELEASED}\n${heading}`));
}

function pack() {
  // built above, once
  run("npm", "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", staged);
  const [tarball] = readdirSync(staged);
  execFileSync("tar", ["-xzf", join(staged, tarball), "-C", staged]);
  leadIntoPackage(join(staged, "package"));
}

/** npm's page knows a README's relative links only where it knows a repository: they lead to the published files. */
function leadIntoPackage(folder) {
  const readme = join(folder, "README.md");
  const relative = /\]\((?!https?:|mailto:|#)([^)\s]+)\)/g;
  const text = readFileSync(readme, "utf8");
  const links = [...text.matchAll(relative)].map(([, link]) => link);
  const missing = links.filter((link) => !existsSync(join(folder, link.split("#")[0])));
  if (missing.length > 0) throw new Error(`README.md leads to what is not packed: ${missing.join(", ")}`);
  writeFileSync(readme, text.replace(relative, `](https://app.unpkg.com/${name}@${version}/files/$1)`));
  console.log(`README.md: ${links.length} links lead to the package's own files`);
}

function publish() {
  const args = ["publish", join(staged, "package"), "--ignore-scripts", "--provenance", "--access", "public"];
  console.log(`npm ${args.join(" ")}`);
  if (dryRun) return;
  run("npm", ...args);
  run("git", "commit", "--message", `Release ${version}`, CHANGELOG);
  run("git", "tag", "--annotate", "--message", `Release ${version}`, `v${version}`);
}

function run(command, ...args) {
  execFileSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
}

function git(...args) {
  return execFileSync("git", args, { encoding: "utf8" }).trim();
}
