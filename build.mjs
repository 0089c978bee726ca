// Builds dist/esm and dist/cjs: the same compiler, run twice over the same tsconfig.
// Built aside and moved into place: what reads dist meanwhile never meets half of it.
import { execFileSync } from "node:child_process";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const tsc = fileURLToPath(import.meta.resolve("typescript/bin/tsc"));
const formats = [
  { name: "esm", type: "module", flags: [] },
  { name: "cjs", type: "commonjs", flags: ["--module", "commonjs", "--moduleResolution", "bundler"] },
];

const target = `dist.${process.pid}.tmp`;
process.on("exit", () => rmSync(target, { recursive: true, force: true }));
for (const { name, type, flags } of formats) {
  const args = [tsc, "--project", "tsconfig.build.json", "--outDir", `${target}/${name}`, ...flags];
  execFileSync(process.execPath, args, { stdio: "inherit" });
  writeFileSync(`${target}/${name}/package.json`, `${JSON.stringify({ type })}\n`);
}
rmSync("dist", { recursive: true, force: true });
renameSync(target, "dist");
