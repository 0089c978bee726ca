import type Inspector from "node:inspector";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { debug } from "../core/guard.js";

/** `require` of no file in particular; its cache is one, whichever file asks. */
const require = createRequire(process.execPath);

/** A CommonJS module that is loaded already. */
export interface LoadedModule {
  /** Its path, with forward slashes. */
  readonly file: string;
  readonly exports: object;
}

/** The modules of a package, of any copy of it, that this process has loaded by `require`, or from an ES module. */
export function loadedModules(name: string): LoadedModule[] {
  return Object.entries(require.cache).flatMap(([path, module]) => {
    const file = path.replaceAll("\\", "/");
    if (module === undefined || !file.includes(`/node_modules/${name}/`)) return [];
    const exports: unknown = module.exports;
    return typeof exports === "object" && exports !== null ? [{ file, exports }] : [];
  });
}

/**
 * The paths of all scripts that this process has loaded, ES modules included, with forward slashes. The debugger alone
 * knows these; to ask it takes about 0.1 ms a script. None where the process may not ask, or Node.js has no debugger.
 */
export function loadedScripts(): string[] {
  const scripts: string[] = [];
  try {
    const { Session }: typeof Inspector = require("node:inspector");
    const session = new Session();
    session.connect();
    session.on("Debugger.scriptParsed", ({ params }) => scripts.push(params.url));
    session.post("Debugger.enable");
    session.post("Debugger.disable");
    session.disconnect();
  } catch (error) {
    debug("the loaded ES modules are not known", error);
  }
  return scripts.map((url) => (url.startsWith("file:") ? fileURLToPath(url).replaceAll("\\", "/") : url));
}
