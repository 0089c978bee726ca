import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** A folder for the run, outside the project: what is installed there sees nothing of it. */
    workspace: string;
    /** The packed package. */
    tarball: string;
  }
}

/** Vitest's global set-up: packs the package once for all tests, as it would be published. */
export function setup(project: TestProject): () => void {
  const workspace = mkdtempSync(join(tmpdir(), "otel-taskflow-package-"));
  const packed = join(workspace, "packed");
  mkdirSync(packed);
  const root = fileURLToPath(new URL("../..", import.meta.url));
  execFileSync("npm", ["pack", "--loglevel=error", "--pack-destination", packed], { cwd: root, encoding: "utf8" });
  const [name = "nothing was packed"] = readdirSync(packed);
  project.provide("workspace", workspace);
  project.provide("tarball", join(packed, name));
  return () => rmSync(workspace, { recursive: true, force: true });
}
