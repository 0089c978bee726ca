import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const SCRIPT = fileURLToPath(new URL("../../release.mjs", import.meta.url));
const SHORT = ["--skip", "test,build"];
const CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Something.\n\n## [0.1.0] - 2026-01-01\n\n- All.\n";
const MANIFEST = { name: "a-package", version: "0.2.0", files: ["docs"] };
const README = "See [a page](docs/page.md#part), [another site](https://example.com) and [below](#below).\n";

/** A committed project of its own; nothing in it could be published. */
function project(files: Readonly<Record<string, string>> = {}): (...args: string[]) => Run {
  const folder = mkdtempSync(join(tmpdir(), "release-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "docs"));
  const manifest = JSON.stringify(MANIFEST);
  const all = {
    "package.json": manifest,
    "CHANGELOG.md": CHANGELOG,
    "README.md": README,
    "docs/page.md": "#",
    ...files,
  };
  for (const [path, text] of Object.entries(all)) writeFileSync(join(folder, path), text);
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b.c", ...args], { cwd: folder });
  git("init", "--quiet");
  git("add", ".");
  git("commit", "--quiet", "--message", "a");
  return (...args) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...args], {
      cwd: folder,
      encoding: "utf8",
    });
    return { status, stdout, stderr, log: readFileSync(join(folder, "CHANGELOG.md"), "utf8") };
  };
}

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The changelog afterwards. */
  readonly log: string;
}

const withRepository = { "package.json": JSON.stringify({ ...MANIFEST, repository: "github:a/b" }) };

test("nothing is published without a repository, and nothing is done before that is said", () => {
  const { status, stdout, stderr } = project()(...SHORT);
  expect(stderr).toMatch(/^refused: package.json names no repository, .* see CONTRIBUTING.md\n$/);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
});

test.each([
  [
    "a version that is released",
    { "CHANGELOG.md": CHANGELOG.replace("0.1.0", "0.2.0") },
    "has a section of 0.2.0 already",
  ],
  ["no change", { "CHANGELOG.md": CHANGELOG.replace("- Something.", "") }, 'has nothing under "Unreleased"'],
])("%s is refused", (_, files, reason) => {
  const { status, stdout, stderr } = project({ ...withRepository, ...files })(...SHORT);
  expect(stderr).toContain(`refused: CHANGELOG.md ${reason}`);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
});

test("an option it does not know is refused, so that a misspelled dry run is none", () => {
  const { status, stdout, stderr } = project(withRepository)("--dryrun", "--skip", "tests");
  expect(stderr).toBe("unknown: --dryrun, tests; expected --dry-run, --skip test,build,changelog,pack,publish\n");
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
});

test("a dry run tells the steps, the date, the links and the flags, and changes nothing", () => {
  const { status, stdout, stderr, log } = project()("--dry-run", ...SHORT);
  expect(stderr).toMatch(/^would be refused: package.json names no repository/);
  const steps = stdout.match(/^--- .*/gm);
  expect(steps).toEqual(["--- test: skipped", "--- build: skipped", "--- changelog", "--- pack", "--- publish"]);
  expect(stdout).toMatch(/^CHANGELOG.md: ## \[0\.2\.0\] - \d{4}-\d\d-\d\d$/m);
  expect(stdout).toContain("README.md: 1 links lead to the package's own files");
  expect(stdout).toMatch(/^npm publish \S+ --ignore-scripts --provenance --access public$/m);
  expect({ status, log }).toEqual({ status: 0, log: CHANGELOG });
});

test("a README that leads to what is not packed is no release", () => {
  const { status, stderr } = project({ "README.md": "[elsewhere](test/a.ts)" })("--dry-run", ...SHORT);
  expect(stderr).toContain("README.md leads to what is not packed: test/a.ts");
  expect(status).toBe(1);
});
