import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { type Page, pages } from "../support/pages.js";

function linksOf({ path, text }: Page): { file: string; anchor: string | undefined }[] {
  const targets = [...text.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return targets.map((target) => {
    const [file = "", anchor] = target.split("#");
    return { file: file === "" ? path : join(dirname(path), file), anchor };
  });
}

// As GitHub and npm make them of a heading.
function anchorsOf(file: string): string[] {
  const headings = readFileSync(file, "utf8").matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replace(/\s/g, "-"),
  );
}

test.each(pages())("every relative link of $path resolves", (page) => {
  const broken = linksOf(page).filter(
    ({ file, anchor }) => !existsSync(file) || (anchor !== undefined && !anchorsOf(file).includes(anchor)),
  );
  expect(broken).toEqual([]);
});

test("the README leads to every page of docs", () => {
  const linked = linksOf({ path: "README.md", text: readFileSync("README.md", "utf8") }).map(({ file }) => file);
  const docs = pages().filter(({ path }) => path.startsWith("docs/"));
  expect(docs.map(({ path }) => path).filter((path) => !linked.includes(path))).toEqual([]);
});
