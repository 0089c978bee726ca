import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect } from "vitest";

/** A program of a page. */
export interface Snippet {
  /** The package that it is about: the first that it imports besides this one. */
  readonly title: string;
  /** Runs it to its end, without exporters and with more of an environment. Returns what it printed, which is nothing on stderr. */
  run(env?: Record<string, string>): Promise<string>;
}

/** The programs of a page of docs, in order. */
export function snippetsOf(page: string): Snippet[] {
  // inside the project, so that the snippets find its packages and its tsconfig as a user's file would
  const folder = mkdtempSync(join("test", "docs", ".snippets-"));
  const snippets = [...readFileSync(page, "utf8").matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""], index) => ({
    title: /from "((?!otel-taskflow)[^"]+)"/.exec(code)?.[1] ?? "otel-taskflow",
    file: join(folder, `snippet-${index}.ts`),
    code,
  }));
  beforeAll(() => {
    for (const { file, code } of snippets) writeFileSync(file, code);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return snippets.map(({ title, file }) => ({ title, run: (env = {}) => run(file, env) }));
}

async function run(file: string, env: Record<string, string>): Promise<string> {
  const none = { OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none", OTEL_LOGS_EXPORTER: "none" };
  const options = { timeout: 150_000, env: { ...process.env, NO_COLOR: "1", ...none, ...env } };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--import", "tsx", file], options);
  expect(stderr).toBe("");
  return stdout;
}
