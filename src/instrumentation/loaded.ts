import { createRequire } from "node:module";

/** A CommonJS module that is loaded already. */
export interface LoadedModule {
  /** Its path, with forward slashes. */
  readonly file: string;
  readonly exports: object;
}

/** The modules of a package, of any copy of it, that this process has loaded by `require`, or from an ES module. */
export function loadedModules(name: string): LoadedModule[] {
  // the cache is one, whichever file asks
  const { cache } = createRequire(process.execPath);
  return Object.entries(cache).flatMap(([path, module]) => {
    const file = path.replaceAll("\\", "/");
    if (module === undefined || !file.includes(`/node_modules/${name}/`)) return [];
    const exports: unknown = module.exports;
    return typeof exports === "object" && exports !== null ? [{ file, exports }] : [];
  });
}
