import { existsSync, readFileSync } from "node:fs";
import { listFiles, root } from "./source-tree.js";

/** A list that has to name what src/ holds, such as each engine. */
export interface Place {
  /** As CONTRIBUTING.md names it; `<library>` stands for the name. */
  readonly file: string;
  /** What of the file. */
  readonly part: string;
  knows(library: string): boolean;
}

const entryPlaces: readonly Place[] = [
  keys("package.json", ["exports"], (library) => `./${library}`),
  keys("package.json", ["typesVersions", "*"]),
  keys("package.json", ["peerDependencies"]),
  keys("package.json", ["peerDependenciesMeta"]),
  keys("package.json", ["devDependencies"]),
  keys("test/compat/package.json", ["devDependencies"]),
  keys("tsconfig.json", ["compilerOptions", "paths"], (library) => `otel-taskflow/${library}`),
  text("test/rules/surface.test.ts", "the exported names", (library) => `"./${library}": [`),
  text("test/package/fixtures/esm/main.js", "the entries that are loaded", (library) => `"${library}"`),
  text("test/package/fixtures/cjs/main.js", "the entries that are loaded", (library) => `"${library}"`),
];

export const enginePlaces: readonly Place[] = [
  ...entryPlaces,
  file("test/engines/<library>/worlds.ts", "the stores of the contract"),
  {
    ...{ file: "test/engines/<library>/contract.test.ts", part: "the contract, once a version and store" },
    knows: (library) => listFiles(`test/engines/${library}`).some((path) => /\/contract.*\.test\.ts$/.test(path)),
  },
  imported("test/core/unknown-options.test.ts", "the engine's options"),
  imported("test/package/fixtures/types/consumer.ts", "the types"),
  imported("soak/stores.ts", "the soak's engines"),
  imported("chaos/engines.ts", "the chaos's engines"),
  imported("docs/engines.md", '"Which one"'),
  column("docs/engines.md", "Options"),
  column("docs/engines.md", "Retries"),
  column("docs/engines.md", "What a crash does"),
  text("docs/telemetry.md", "the values of `task.engine`", (library) => `\`${library}\``),
  text("docs/comparison.md", '"runs on"', (library) => library, /^\| runs on \|.*$/m),
  text("README.md", "what the same tasks run on", (library) => library, /^- \*\*The same tasks on.*$/m),
  file("examples/<library>/producer.ts", "the example"),
  file("examples/<library>/worker.ts", "the example"),
  text("examples/README.md", "the example", (library) => `(${library}/worker.ts)`),
];

export const adapterPlaces: readonly Place[] = [
  ...entryPlaces,
  imported("test/package/fixtures/types/consumer.ts", "the types"),
  column("docs/engines.md", "What a crash does"),
  column("docs/engines.md", "Your own queues"),
];

export const webPlaces: readonly Place[] = [
  ...entryPlaces,
  file("test/web/<library>-world.ts", "the contract's server"),
  text("test/web/worlds.ts", "the servers of the contract", (library) => `./${library}-world.js`),
  imported("docs/web.md", "its section"),
  file("examples/web/<library>.ts", "the example"),
  text("examples/README.md", "the example", (library) => `(web/${library}.ts)`),
];

/** What src/ holds of a kind; `bullmq-verdict.ts` is a part of `bullmq.ts`. */
export function librariesIn(folder: string): string[] {
  const names = listFiles(folder).map((path) => path.slice(folder.length + 1).replace(/\.ts$/, ""));
  return names.filter((name) => !names.some((other) => name.startsWith(`${other}-`)));
}

function keys(path: string, at: readonly string[], keyOf: (library: string) => string = (library) => library): Place {
  const found = at.reduce((part, key) => part[key], JSON.parse(readFileSync(root + path, "utf8")));
  return { file: path, part: at[0] ?? "", knows: (library) => Object.hasOwn(found, keyOf(library)) };
}

function text(path: string, part: string, textOf: (library: string) => string, within = /.*/s): Place {
  const [searched = ""] = within.exec(readFileSync(root + path, "utf8")) ?? [];
  return { file: path, part, knows: (library) => searched.toLowerCase().includes(textOf(library)) };
}

function imported(path: string, part: string): Place {
  return text(path, part, (library) => `from "otel-taskflow/${library}"`);
}

function file(path: string, part: string): Place {
  return { file: path, part, knows: (library) => existsSync(root + path.replace("<library>", library)) };
}

/** Every table under a heading that compares engines. */
function column(path: string, heading: string): Place {
  const [, section = ""] = readFileSync(root + path, "utf8").split(`\n## ${heading}\n`);
  const [own = ""] = section.split("\n## ");
  const headers = own.match(/^\| \|.*(?=\n\|---)/gm) ?? [];
  const knows = (library: string): boolean => {
    const [first = library] = library.split("-");
    return headers.length > 0 && headers.every((header) => header.toLowerCase().includes(first));
  };
  return { file: path, part: `the table "${heading}"`, knows };
}
