// Builds dist/esm and dist/cjs: a file for each entry of package.json's exports, one more with all that several entries
// use, and the compiler's types. Built aside and moved into place: what reads dist meanwhile never meets half of it.
import { execFileSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rollup } from "rollup";

const target = resolve(`dist.${process.pid}.tmp`);
process.on("exit", () => rmSync(target, { recursive: true, force: true }));

const compiled = join(target, "compiled");
const tsc = fileURLToPath(import.meta.resolve("typescript/bin/tsc"));
execFileSync(process.execPath, [tsc, "--project", "tsconfig.build.json", "--outDir", compiled], { stdio: "inherit" });

const bundle = await rollup({
  input: Object.fromEntries(entries().map((name) => [name, join(compiled, `${name}.js`)])),
  external: (id) => !id.startsWith(".") && !isAbsolute(id),
  plugins: [{ name: "source-maps", load: withSourceMap }],
  treeshake: { moduleSideEffects: false },
  onwarn(warning) {
    throw new Error(warning.message);
  },
});
for (const [format, type] of [
  ["esm", "module"],
  ["cjs", "commonjs"],
]) {
  await bundle.write({
    ...{ dir: join(target, format), format, chunkFileNames: "chunks/[name].js", generatedCode: "es2015" },
    manualChunks: (id, { getModuleInfo }) => (entriesUsing(id, getModuleInfo).size > 1 ? "core" : undefined),
    ...{ esModule: true, exports: "named", minifyInternalExports: false },
    ...{ sourcemap: true, sourcemapExcludeSources: true },
  });
  copyTypes(join(target, format));
  writeFileSync(join(target, format, "package.json"), `${JSON.stringify({ type })}\n`);
}
rmSync(compiled, { recursive: true });
rmSync("dist", { recursive: true, force: true });
renameSync(target, "dist");

// "./dist/esm/sdk/index.js" is the entry "sdk/index", which src/sdk/index.ts is the source of
function entries() {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
  const files = Object.values(exports).flatMap((entry) => entry.import?.default ?? []);
  return files.map((file) => file.replace(/^\.\/dist\/esm\/(.+)\.js$/, "$1"));
}

// An entry that imports another loads that one's file, and does not make its modules shared.
function entriesUsing(id, getModuleInfo, found = new Set(), seen = new Set([id])) {
  for (const importer of getModuleInfo(id).importers) {
    if (seen.has(importer)) continue;
    seen.add(importer);
    if (getModuleInfo(importer).isEntry) found.add(importer);
    else entriesUsing(importer, getModuleInfo, found, seen);
  }
  return found;
}

function withSourceMap(id) {
  return { code: readFileSync(id, "utf8"), map: JSON.parse(readFileSync(`${id}.map`, "utf8")) };
}

function copyTypes(folder) {
  const types = readdirSync(compiled, { recursive: true }).filter((file) => file.endsWith(".d.ts"));
  for (const file of types) cpSync(join(compiled, file), join(folder, file));
}
