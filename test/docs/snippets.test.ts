import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { blocksOf, pages } from "../support/pages.js";

// Where a page's programs are run by a test, `typescript` marks one that is only checked: it needs a server.
const LANGUAGES = ["ts", "typescript"];
const snippets = pages().flatMap(({ path, text }) =>
  blocksOf(text).flatMap(({ language, text: code }, index) =>
    LANGUAGES.includes(language) ? [{ file: `${path.replace(/\W+/g, "-")}-${index}.ts`, code }] : [],
  ),
);

test("every snippet of every page is correct TypeScript, and the NestJS example where Nest makes CommonJS of it", {
  timeout: 300_000,
}, async () => {
  // inside the project, so that the snippets find its packages and its tsconfig as a user's file would
  const folder = mkdtempSync(join("test", "docs", ".snippets-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const { file, code } of snippets) writeFileSync(join(folder, file), `${code}\nexport {};\n`);
  mkdirSync(join(folder, "commonjs"));
  writeFileSync(join(folder, "commonjs", "package.json"), '{ "type": "commonjs" }\n');
  copyFileSync("examples/nestjs.ts", join(folder, "commonjs", "nestjs.ts"));
  const compilerOptions = { noEmit: true, rootDir: "../../..", noUnusedLocals: false };
  const tsconfig = { extends: "../../../tsconfig.json", compilerOptions, include: ["*.ts", "commonjs/*.ts"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  const checked = promisify(execFile)(process.execPath, [tsc, "--project", folder]);
  expect(
    await checked.then(
      () => "",
      ({ stdout }) => stdout,
    ),
  ).toBe("");
  expect(snippets.length).toBeGreaterThan(9);
});
