import { loadedModules, loadedScripts } from "./loaded.js";
import { tellUnlessWrapped } from "./unwrapped.js";

/** A library by its package's name, and the path of its main file there. */
interface MainFile {
  readonly name: string;
  readonly file: string;
}

/** Each library that may be an ES module loads this package, which is CommonJS: where it is not loaded, none of them is. */
const LOADED_BY_EACH = "pg";

let hasLooked = false;

/**
 * Tells once of each of these libraries that was loaded before as an ES module, whose exports cannot be replaced any more.
 * `reached` are files whose exports could be.
 */
export function tellOfEsModules(libraries: readonly MainFile[], reached: readonly string[]): void {
  if (hasLooked) return;
  hasLooked = true;
  if (loadedModules(LOADED_BY_EACH).length === 0) return;
  // the file of an earlier release has another ending
  const late = loadedScripts()
    .filter((script) => !reached.some((file) => script.endsWith(file)))
    .map((script) => script.replace(/\.mjs$/, ".js"));
  for (const { name, file } of libraries) {
    if (late.some((script) => script.endsWith(`/node_modules/${name}/${file}`)))
      tellUnlessWrapped(name, noticeOf(name));
  }
}

function noticeOf(name: string): string {
  return (
    `${name} is an ES module that was loaded before its instrumentation, which cannot reach it: load the set-up of ` +
    "OpenTelemetry by --import, or pass the module to withTasks() and use what that returns."
  );
}
