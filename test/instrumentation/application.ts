import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const SOURCES = fileURLToPath(new URL("../../src/", import.meta.url));
const PROGRAMS = fileURLToPath(new URL("./programs/", import.meta.url));
const ENTRIES = {
  ...{ ".": "index", "./instrumentation": "instrumentation/index" },
  ...{ "./bullmq": "engines/bullmq/index", "./pg-boss": "engines/pg-boss/index" },
  "./graphile-worker": "engines/graphile-worker/index",
};
const FORMATS = { import: "esm", require: "cjs" } as const;
const ENDS_WITHIN_MS = 150_000;

export type Environment = Readonly<Record<string, string>>;

/** What a program did. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An application of its own, with this library in both module systems among its packages. */
export interface Application {
  readonly folder: string;
  node(args: readonly string[], env?: Environment): Promise<Ended>;
  remove(): void;
}

/**
 * Makes an application with the packages that are installed here. `copied` are those that it has copies of, under its own
 * names: `{ bullmq: "bullmq5" }`. A package finds others from the path that it really has, and hooks know it by that path.
 * `shared` is the environment of all of its programs.
 */
export async function createApplication(copied: Environment, shared: Environment): Promise<Application> {
  const folder = mkdtempSync(join(tmpdir(), "otel-taskflow-application-"));
  cpSync(PROGRAMS, folder, { recursive: true });
  const packages = join(folder, "node_modules");
  mkdirSync(packages);
  const resolved = createRequire(import.meta.url).resolve("@opentelemetry/api");
  const installed = resolved.slice(0, resolved.lastIndexOf("node_modules") + "node_modules".length);
  for (const name of readdirSync(installed)) {
    if (!(name in copied) && !name.startsWith(".")) symlinkSync(join(installed, name), join(packages, name));
  }
  for (const [name, version] of Object.entries(copied)) {
    cpSync(join(installed, version), join(packages, name), { recursive: true });
  }
  await installLibrary(join(packages, "otel-taskflow"));
  return {
    folder,
    node: (args, env = {}) => run(folder, args, { ...shared, ...env }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function installLibrary(folder: string): Promise<void> {
  for (const format of Object.values(FORMATS)) {
    await build({
      ...{ entryPoints: Object.values(ENTRIES).map((name) => `${SOURCES}${name}.ts`), outbase: SOURCES },
      ...{ outdir: join(folder, format), bundle: true, splitting: format === "esm", format, platform: "node" },
      ...{ external: ["@opentelemetry/*", "pg-boss"], ignoreAnnotations: true },
    });
    writeFileSync(
      join(folder, format, "package.json"),
      JSON.stringify({ type: format === "esm" ? "module" : "commonjs" }),
    );
  }
  const exports = Object.entries(ENTRIES).map(([path, name]) => [
    path,
    { import: `./esm/${name}.js`, require: `./cjs/${name}.js` },
  ]);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ exports: Object.fromEntries(exports) }));
}

function run(cwd: string, args: readonly string[], more: Environment): Promise<Ended> {
  const { PATH, HOME } = process.env;
  // the deprecation of module.register in newer releases of Node.js is OpenTelemetry's to see to
  const env = { PATH, HOME, NODE_NO_WARNINGS: "1", ...more };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd, env, timeout: ENDS_WITHIN_MS }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code) || 1, stdout, stderr });
    });
  });
}
