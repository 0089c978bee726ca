import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inject } from "vitest";

const NPM_INSTALL = ["install", "--prefer-offline", "--no-package-lock", "--loglevel=error", "--engine-strict=false"];

/** What a program did. */
export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An application of its own that has installed the packed package. */
export interface Project {
  readonly folder: string;
  /** Runs a file of the project with Node.js. */
  node(...args: string[]): Promise<Run>;
  /** What a file of the project printed, which is one line of JSON and nothing on stderr. */
  json(...args: string[]): Promise<unknown>;
}

/** A fresh project with the files of a fixture, the package, `@opentelemetry/api` 1.9.1, and more dependencies. */
export async function createProject(fixture: string, dependencies: Record<string, string> = {}): Promise<Project> {
  const folder = mkdtempSync(join(inject("workspace"), `${fixture}-`));
  cpSync(fileURLToPath(new URL(`fixtures/${fixture}`, import.meta.url)), folder, { recursive: true });
  const own = { "otel-taskflow": `file:${inject("tarball")}`, "@opentelemetry/api": "1.9.1" };
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const installed = { ...manifest, private: true, dependencies: { ...own, ...dependencies } };
  writeFileSync(join(folder, "package.json"), JSON.stringify(installed));
  const { code, stderr } = await run(folder, "npm", NPM_INSTALL);
  if (code !== 0) throw new Error(`npm install failed in ${folder}:\n${stderr}`);
  const node = (...args: string[]): Promise<Run> => run(folder, process.execPath, args);
  return { folder, node, json: async (...args) => onlyLine(await node(...args)) };
}

function run(cwd: string, command: string, args: readonly string[]): Promise<Run> {
  const { PATH, HOME } = process.env;
  return new Promise((resolve) => {
    execFile(command, args, { cwd, env: { PATH, HOME, CI: "true" } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code) || 1, stdout, stderr });
    });
  });
}

function onlyLine({ code, stdout, stderr }: Run): unknown {
  if (code !== 0 || stderr !== "" || stdout.trim().split("\n").length !== 1) {
    throw new Error(`expected one line of JSON and nothing else, got code ${code}\n${stdout}\n${stderr}`);
  }
  return JSON.parse(stdout);
}
