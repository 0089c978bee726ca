import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { getTaskContext, TaskManager } from "otel-taskflow";
import type { bullmqEngine } from "otel-taskflow/bullmq";
import type { graphileEngine } from "otel-taskflow/graphile-worker";
import type { pgBossEngine } from "otel-taskflow/pg-boss";

const PACKED = fileURLToPath(new URL("release-before.tar.gz", import.meta.url));
const MODULES = fileURLToPath(new URL("../../node_modules", import.meta.url));

/** What an upgrade is between: a build of this library. */
export interface Release {
  readonly TaskManager: typeof TaskManager;
  /** Its own: two releases in one process share no task context. */
  readonly getTaskContext: typeof getTaskContext;
  readonly bullmqEngine: typeof bullmqEngine;
  readonly pgBossEngine: typeof pgBossEngine;
  readonly graphileEngine: typeof graphileEngine;
}

/** Unpacks the build of the release before this one, where it finds the same `@opentelemetry/api`. */
export async function unpackRelease(): Promise<{ readonly release: Release; remove(): void }> {
  const folder = mkdtempSync(join(MODULES, ".otel-taskflow-before-"));
  execFileSync("tar", ["-xzf", PACKED, "-C", folder]);
  const load = (entry: string): Promise<unknown> => import(pathToFileURL(join(folder, "esm", entry)).href);
  const entries = [
    "index.js",
    "engines/bullmq/index.js",
    "engines/pg-boss/index.js",
    "engines/graphile-worker/index.js",
  ];
  const loaded = await Promise.all(entries.map(load));
  return {
    release: Object.assign({}, ...loaded) as Release,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
