import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { shared } from "../core/slot.js";
import { loadedModules, loadedScripts } from "./loaded.js";
import { type Notice, tellUnlessWrapped } from "./unwrapped.js";

/** A library by its package's name, and the path of its main file there. */
export interface MainFile {
  readonly name: string;
  readonly file: string;
}

/** Each library that may be an ES module loads this package, which is CommonJS: where it is not loaded, none of them is. */
const LOADED_BY_EACH = "pg";

/** The libraries that an application was told of. */
const told = shared("unreached.1", () => new Set<string>());

let hasLooked = false;

/**
 * Tells once of each library that was loaded as an ES module where no instrumentation can reach it: before this call, as
 * its exports cannot be replaced any more, or since then without a hook, which is seen soon or when the process ends.
 * `served` gives the libraries whose jobs are tasks, `isReached` whether one was patched, and `inPlace` are files that
 * were loaded before and could be.
 */
export function tellOfEsModules(
  served: () => readonly MainFile[],
  isReached: (name: string) => boolean,
  inPlace: readonly string[],
): void {
  if (hasLooked) return;
  hasLooked = true;
  const late = noticesOf(esModulesOf(served(), inPlace), lateNotice);
  tellUnlessWrapped(() => {
    const missed = served().filter(({ name }) => !told.has(name) && !isReached(name) && isInstalled(name));
    const required = missed.flatMap(({ name }) => loadedModules(name).map(({ file }) => file));
    return [...late, ...noticesOf(esModulesOf(missed, required), unhookedNotice)];
  });
}

function esModulesOf(libraries: readonly MainFile[], others: readonly string[]): MainFile[] {
  if (libraries.length === 0 || loadedModules(LOADED_BY_EACH).length === 0) return [];
  // the file of an earlier release has another ending
  const scripts = loadedScripts()
    .filter((script) => !others.some((file) => script.endsWith(file)))
    .map((script) => script.replace(/\.mjs$/, ".js"));
  return libraries.filter(({ name, file }) =>
    scripts.some((script) => script.endsWith(`/node_modules/${name}/${file}`)),
  );
}

function noticesOf(libraries: readonly MainFile[], textOf: (name: string) => string): Notice[] {
  for (const { name } of libraries) told.add(name);
  return libraries.map(({ name }) => ({ library: name, text: textOf(name) }));
}

// To ask for all scripts takes a while, and nobody is to wait for it who does not have the library.
function isInstalled(name: string): boolean {
  const folders = createRequire(resolve(process.argv[1] ?? "main")).resolve.paths(name) ?? [];
  return folders.some((folder) => existsSync(join(folder, name)));
}

function lateNotice(name: string): string {
  return (
    `${name} is an ES module that was loaded before its instrumentation, which cannot reach it: load the set-up of ` +
    "OpenTelemetry by --import, or pass the module to withTasks() and use what that returns."
  );
}

function unhookedNotice(name: string): string {
  return (
    `${name} is an ES module that was loaded without OpenTelemetry's hook, so that its instrumentation cannot reach it: ` +
    "register @opentelemetry/instrumentation/hook.mjs in the set-up of OpenTelemetry, or pass the module to withTasks() " +
    "and use what that returns."
  );
}
