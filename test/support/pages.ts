import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Page {
  /** From the project's root. */
  readonly path: string;
  readonly text: string;
}

export interface Block {
  readonly language: string;
  readonly text: string;
}

/** Every page of the project: what stands at the top, in docs, and beside the code of examples, bench and soak. */
export function pages(): Page[] {
  const nested = ["docs", "examples", "bench", "soak"].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
  );
  const paths = [...readdirSync("."), ...nested].filter((path) => path.endsWith(".md"));
  return paths.map((path) => ({ path, text: readFileSync(path, "utf8") }));
}

/** The fenced blocks of a page, in order. */
export function blocksOf(text: string): Block[] {
  return [...text.matchAll(/```(\w+)\n([\s\S]*?)```/g)].map(([, language = "", block = ""]) => ({
    language,
    text: block,
  }));
}
