// npm run chaos -- --engine E --seed N: see README.md. The exit code says whether every check found nothing.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { temporaryFolder } from "../test/support/server-process.js";
import { readOptions } from "./options.js";
import { failuresOf, report, reportLines } from "./report.js";
import { runChaos } from "./run.js";

const SOURCE = fileURLToPath(new URL("process.ts", import.meta.url));
// inside the package, where the libraries are found; the name is one that git ignores
const BUILT = fileURLToPath(new URL(`../dist.chaos-${process.pid}.tmp/`, import.meta.url));

const options = readOptions(process.argv.slice(2));
const folder = options.journals ?? temporaryFolder("chaos");
mkdirSync(folder, { recursive: true });
process.on("exit", () => rmSync(BUILT, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

const program = `${BUILT}process.mjs`;
// many processes start during a run: one file each, with the package's sources
await build({
  ...{ entryPoints: [SOURCE], outfile: program, bundle: true, packages: "external", platform: "node", format: "esm" },
  ...{ target: "es2022", logLevel: "error" },
});
console.log(`chaos: ${options.engine}, seed ${options.seed}, ${options.tasks} tasks`);
const result = report(options, await runChaos(options, program, folder));
for (const line of reportLines(result)) console.log(line);
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result.figures, undefined, 2)}\n`);
const failed = failuresOf(result) > 0;
if (failed) console.log(`The journals are in ${folder}`);
else if (options.journals === undefined) rmSync(folder, { recursive: true });
process.exit(failed ? 1 : 0);
