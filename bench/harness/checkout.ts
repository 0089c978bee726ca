import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Compiles the benches of this checkout into the built package of `root`, which they then import as an application does.
 * By esbuild alone, not by tsx: its wrappers that keep names would slow every closure and class. Returns their folder.
 */
export async function compileBenches(root: string = ROOT): Promise<URL> {
  const source = join(ROOT, "bench");
  const entryPoints = [`${source}/p*.ts`, `${source}/growth.ts`, `${source}/harness/*.ts`];
  const outdir = join(root, "dist/bench");
  await build({ entryPoints, outdir, outbase: source, format: "esm", target: "es2022", sourcemap: true });
  return pathToFileURL(`${outdir}/`);
}

/**
 * Builds the package as it is at `ref`, a commit or branch of this repository, in a folder of its own with the installed
 * packages of this one, and compiles the benches into it. The folder is removed when the process ends.
 */
export async function checkOut(ref: string): Promise<URL> {
  const root = mkdtempSync(join(tmpdir(), "otel-taskflow-against-"));
  process.once("exit", () => rmSync(root, { recursive: true, force: true }));
  const archive = execFileSync("git", ["archive", ref], { cwd: ROOT, maxBuffer: 1e9 });
  execFileSync("tar", ["-x", "-C", root], { input: archive });
  symlinkSync(join(ROOT, "node_modules"), join(root, "node_modules"));
  execFileSync(process.execPath, ["build.mjs"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  return await compileBenches(root);
}
