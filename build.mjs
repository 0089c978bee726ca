// Builds dist/esm and dist/cjs: a file for each entry of package.json's exports, a few more with what several entries
// use, and the compiler's types. Built aside and moved into place: what reads dist meanwhile never meets half of it.
import { execFileSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { rollup } from "rollup";

const ENTRY = "?entry";

const target = resolve(`dist.${process.pid}.tmp`);
process.on("exit", () => rmSync(target, { recursive: true, force: true }));

const compiled = join(target, "compiled");
const tsc = fileURLToPath(import.meta.resolve("typescript/bin/tsc"));
execFileSync(process.execPath, [tsc, "--project", "tsconfig.build.json", "--outDir", compiled], { stdio: "inherit" });

const CORE = join(compiled, "index.js");
const INSTRUMENTATION = join(compiled, "instrumentation/index.js");
const entries = entriesOf(JSON.parse(readFileSync("package.json", "utf8")));
const bundle = await rollup({
  input: Object.fromEntries(entries.map(({ name, file }) => [name, file])),
  external: (id) => !id.startsWith(".") && !isAbsolute(id),
  plugins: [{ name: "compiled", resolveId: resolveEntry, load: withSourceMap, renderChunk: finish }],
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
    ...{ dir: join(target, format), format, esModule: true, exports: "named", generatedCode: "es2015" },
    // beside the entry, where Node.js has looked for packages already
    chunkFileNames: "[name].js",
    manualChunks: (id, { getModuleInfo }) => chunkOf(entriesUsing(id, getModuleInfo)),
    ...{ minifyInternalExports: false, sourcemap: true, sourcemapExcludeSources: true },
  });
  copyTypes(join(target, format));
  writeFileSync(join(target, format, "package.json"), `${JSON.stringify({ type, sideEffects: false })}\n`);
}
rmSync(compiled, { recursive: true });
rmSync("dist", { recursive: true, force: true });
renameSync(target, "dist");

// "./dist/esm/sdk/index.js" is the entry "sdk/index", which src/sdk/index.ts is the source of
function entriesOf({ exports }) {
  return Object.values(exports).flatMap(({ import: built }) => {
    if (built === undefined) return [];
    const name = built.default.replace(/^\.\/dist\/esm\/(.+)\.js$/, "$1");
    return [{ name, file: join(compiled, `${name}.js`) }];
  });
}

// An entry that uses another imports that one's file, and what it exports stays there. Rollup takes no file for external
// that it bundles, so until it is written the name has a mark. By the package's name it could only be found once installed.
function resolveEntry(source, importer) {
  if (importer === undefined || !source.startsWith(".")) return null;
  const entry = entries.find(({ file }) => file === resolve(dirname(importer), source));
  return entry === undefined ? null : { id: entry.file + ENTRY, external: "relative" };
}

// Node.js reads a file with all its comments at each start, so they stay in the sources, which the maps lead to, and in
// the types.
async function finish(code) {
  return await transform(code.replaceAll(ENTRY, ""), {
    target: "esnext",
    legalComments: "none",
    sourcemap: "external",
  });
}

function entriesUsing(id, getModuleInfo, seen = new Set()) {
  if (seen.has(id)) return [];
  seen.add(id);
  const { isEntry, importers } = getModuleInfo(id);
  const others = importers.flatMap((importer) => entriesUsing(importer, getModuleInfo, seen));
  return isEntry ? [id, ...others] : others;
}

// Whoever uses the core entry alone loads nothing that is there for queue libraries, and whoever uses one of these
// nothing of another. A library's file has its name: all that its entry and the instrumentation use.
function chunkOf(users) {
  if (users.length < 2) return undefined;
  if (users.includes(CORE)) return "core";
  const [library, ...others] = users.filter((user) => user !== INSTRUMENTATION);
  return others.length === 0 ? basename(dirname(library)) : "libraries";
}

function withSourceMap(id) {
  return { code: readFileSync(id, "utf8"), map: JSON.parse(readFileSync(`${id}.map`, "utf8")) };
}

function copyTypes(folder) {
  const types = readdirSync(compiled, { recursive: true }).filter((file) => file.endsWith(".d.ts"));
  for (const file of types) cpSync(join(compiled, file), join(folder, file));
}
