import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { adapterPlaces, enginePlaces, librariesIn, type Place, webPlaces } from "./places.js";
import { listFiles, root } from "./source-tree.js";

// src/engines/bullmq/engine.ts is an engine, src/engines/memory.ts needs no entry of its own
const engines = listFiles("src/engines").flatMap((path) => /^src\/engines\/([^/]+)\/engine\.ts$/.exec(path)?.[1] ?? []);
const adapters = librariesIn("src/adapters").filter((name) => name !== "door");
// Nest's module serves an application, and none of its requests
const web = librariesIn("src/web").filter((name) => name !== "settle-scope" && name !== "nestjs");

const lists: [kind: string, names: readonly string[], places: readonly Place[]][] = [
  ["engine", engines, enginePlaces],
  ["adapter", adapters, adapterPlaces],
  ["web adapter", web, webPlaces],
];

describe.each(lists)("every list that an %s has to be in", (kind, names, places) => {
  test.each(names)("names %s", (name) => {
    expect(missing(name, places)).toEqual([]);
  });

  test("is missed where it lacks one", () => {
    expect(missing("sidekiq", places)).toHaveLength(places.length);
    expect(names.length, `no ${kind} was found`).toBeGreaterThan(2);
  });

  test("is told by CONTRIBUTING.md to who adds one", () => {
    const page = readFileSync(`${root}CONTRIBUTING.md`, "utf8");
    expect(places.map(({ file }) => file).filter((file) => !page.includes(`\`${file}\``))).toEqual([]);
  });
});

function missing(name: string, places: readonly Place[]): string[] {
  const unaware = places.filter(({ knows }) => !knows(name));
  return unaware.map(({ file, part }) => `${file.replace("<library>", name)}: add ${name} to ${part}`);
}
