// npm run soak [-- short|long [SEED]] [-- --engine E --minutes M]: see README.md.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
// Inside the package, so that `import "otel-taskflow"` is the built package, as an application gets it.
const OUT = fileURLToPath(new URL("../dist/soak/", import.meta.url));

if (!existsSync(new URL("../dist/esm/index.js", import.meta.url))) throw new Error("npm run build comes first");
await build({
  ...{ entryPoints: [`${HERE}run.ts`], outdir: OUT, outExtension: { ".js": ".mjs" } },
  ...{ bundle: true, packages: "external", platform: "node", format: "esm", target: "es2022", sourcemap: true },
  // the compiler's paths lead to the sources
  tsconfigRaw: {},
});
const args = ["--expose-gc", `${OUT}run.mjs`, ...process.argv.slice(2)];
process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
