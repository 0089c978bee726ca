import { describe, expect, test } from "vitest";
import { ENGINE_FILES, isFunction, LIBRARIES, rules } from "./rules.js";
import { descendants, linesIn, listFiles, parse, readSources } from "./source-tree.js";

const sources = readSources();

describe.each(rules)("$title", ({ check, breach }) => {
  test("src keeps it", () => {
    expect(sources.flatMap(check)).toEqual([]);
  });

  test.each(breach.lines)("a breach is noticed: %j", (line) => {
    expect(check(parse(breach.path, line))).toHaveLength(1);
  });
});

test.each(LIBRARIES)("the engine for %s has a file for each of its parts", (library) => {
  expect(listFiles(`src/engines/${library}`)).toEqual(
    expect.arrayContaining(["index.ts", ...ENGINE_FILES].map((file) => `src/engines/${library}/${file}`)),
  );
});

test("there are sources to check", () => {
  expect(sources.length).toBeGreaterThan(20);
});

test("the median file has fewer than 110 lines", () => {
  expect(median(sources.map(linesIn))).toBeLessThan(110);
});

test("the median function has fewer than 10 lines", () => {
  expect(median(sources.flatMap(descendants).filter(isFunction).map(linesIn))).toBeLessThan(10);
});

test("every file says by its name which step it is", () => {
  const folders = ["src", "test", "examples", "bench", "chaos", "docs"].flatMap(listFiles);
  const nameless = /(^|\/)(utils?|helpers?|common|shared|lib|misc)(\/|\.[^/]*$)/;
  expect(folders.filter((path) => nameless.test(path))).toEqual([]);
  expect("src/core/utils.ts").toMatch(nameless);
  expect("test/helpers/tasks.ts").toMatch(nameless);
});

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
