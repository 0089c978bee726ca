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

/** Of a project that Nest's own builder makes: older decorators, with metadata, and what goes with them. */
const NEST = { experimentalDecorators: true, emitDecoratorMetadata: true, erasableSyntaxOnly: false };
const isOfNest = ({ code }: { code: string }): boolean => code.includes(' from "@nestjs/');

test("every snippet of every page is correct TypeScript, those for NestJS where Nest makes CommonJS of them", {
  timeout: 300_000,
}, async () => {
  // inside the project, so that the snippets find its packages and its tsconfig as a user's file would
  const folder = mkdtempSync(join("test", "docs", ".snippets-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "commonjs"));
  writeFileSync(join(folder, "commonjs", "package.json"), '{ "type": "commonjs" }\n');
  copyFileSync("examples/nestjs.ts", join(folder, "commonjs", "nestjs.ts"));
  mkdirSync(join(folder, "commonjs", "built"));
  for (const snippet of snippets) {
    writeFileSync(
      join(folder, isOfNest(snippet) ? "commonjs/built" : "", snippet.file),
      `${snippet.code}\nexport {};\n`,
    );
  }
  expect(await check(folder, {}, ["*.ts", "commonjs/*.ts"])).toBe("");
  expect(await check(folder, NEST, ["commonjs/built/*.ts"])).toBe("");
  expect(snippets.length).toBeGreaterThan(9);
  expect(snippets.filter(isOfNest).length).toBeGreaterThan(0);
});

/** What the compiler complains of. */
async function check(folder: string, more: object, include: string[]): Promise<string> {
  const compilerOptions = { noEmit: true, rootDir: "../../..", noUnusedLocals: false, ...more };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: "../../../tsconfig.json", compilerOptions, include }),
  );
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  const checked = promisify(execFile)(process.execPath, [tsc, "--project", folder]);
  return await checked.then(
    () => "",
    ({ stdout }) => stdout,
  );
}
