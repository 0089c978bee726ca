import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** What a command left behind. */
export interface Run {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const TSX = createRequire(import.meta.url).resolve("tsx/cli");

/** Runs a command of the form `tsx …` in the project's folder, on this Node, without the caller's OTEL_* settings. */
export function runExample(command: string, env: Record<string, string> = {}): Promise<Run> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("OTEL_"));
  const args = command.split(" ").slice(1);
  const child = spawn(process.execPath, [TSX, ...args], {
    cwd: ROOT,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (exitCode) => resolve({ exitCode, stdout, stderr }));
  });
}

/** The command behind `npm start`. */
export function startCommand(): string {
  const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as { scripts: { start: string } };
  return scripts.start;
}

/** The comment an example ends with, without its heading. */
export function expectedOutput(example: string): string {
  const source = readFileSync(`${ROOT}${example}`, "utf8");
  const comment = source.slice(source.lastIndexOf("\n// Output")).trim().split("\n").slice(2);
  return `${comment.map((line) => line.replace(/^\/\/ ?/, "")).join("\n")}\n`;
}
