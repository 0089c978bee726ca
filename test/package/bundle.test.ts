import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { bundleSize } from "../../bench/harness/bundle-size.js";

/** What all share, what those for queue libraries share, and what one of these shares with the instrumentation. */
const SHARED = ["core", "libraries", "bullmq", "graphile-worker", "pg-boss"];
/** The aim is 20 kB; what the conventions ask of spans and metrics is the rest. */
const MAX_CORE_BYTES = 21_180;

interface SourceMap {
  readonly sources: readonly string[];
  readonly sourcesContent?: readonly string[];
}

const { exports } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
const entries = Object.keys(exports).filter((path) => path !== "./package.json");

let unpacked: string;
let files: string[];
beforeAll(() => {
  unpacked = mkdtempSync(join(inject("workspace"), "unpacked-"));
  const listed = execFileSync("tar", ["-xzvf", inject("tarball"), "-C", unpacked], { encoding: "utf8" });
  files = listed.trim().split("\n");
});

describe.each([
  { format: "esm", condition: "import" },
  { format: "cjs", condition: "require" },
])("$format", ({ format, condition }) => {
  test("is one file for each entry, and one for each group of entries that share something", () => {
    const code = files.filter((file) => file.startsWith(`package/dist/${format}/`) && file.endsWith(".js"));
    const main = entries.map((entry) => exports[entry][condition].default.replace(".", "package"));
    expect(code.sort()).toEqual([...main, ...SHARED.map((name) => `package/dist/${format}/${name}.js`)].sort());
  });

  test("is mapped to sources that are shipped", () => {
    const maps = files.filter((file) => file.startsWith(`package/dist/${format}/`) && file.endsWith(".js.map"));
    expect(maps).toHaveLength(entries.length + SHARED.length);
    const sources = maps.flatMap((file) => {
      const map: SourceMap = JSON.parse(readFileSync(join(unpacked, file), "utf8"));
      expect(map.sourcesContent ?? []).toEqual([]);
      return map.sources.map((source) => join(dirname(file), source));
    });
    expect(sources).toContain("package/src/core/running-attempt.ts");
    expect(
      sources.filter((source) => !source.startsWith("package/src/") || !existsSync(join(unpacked, source))),
    ).toEqual([]);
  });
});

test("the core entry is at most 21.1 kB, minified and gzipped", async () => {
  const size = await bundleSize(join(unpacked, "package/dist/esm/index.js"));
  const over = `${size - MAX_CORE_BYTES} bytes too many: make room in the core, or leave out what few need`;
  expect(size, over).toBeLessThanOrEqual(MAX_CORE_BYTES);
});

test.each(entries)("what %s exports is called in the build as it is in the source", async (entry) => {
  const source = exports[entry].import.default.replace("./dist/esm/", "../../src/").replace(/\.js$/, ".ts");
  const names = namesIn(await import(join("otel-taskflow", entry)));
  expect(names).toEqual(namesIn(await import(fileURLToPath(new URL(source, import.meta.url)))));
});

/** What each exported class and function calls itself, which stacks and `code.function.name` show. */
function namesIn(exported: Record<string, unknown>): Record<string, string> {
  const named = Object.entries(exported).flatMap(([key, value]) =>
    typeof value === "function" ? [[key, value.name] as const] : [],
  );
  return Object.fromEntries(named);
}
