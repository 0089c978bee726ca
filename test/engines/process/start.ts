import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { EngineStore, EngineWorld } from "../world.js";
import type { PrintedSpan, ProcessLine, ProcessSettings } from "./protocol.js";

const ENDS_WITHIN_MS = 50_000;

/**
 * Another process with a manager of its own on a store: a `producer` enqueues one task, a `worker` runs what is
 * stored. The caller kills it at the test's end.
 */
export function startProcess(
  script: "producer" | "worker",
  { module }: Pick<EngineWorld, "module">,
  { location }: Pick<EngineStore, "location">,
  { telemetry = true, stays = false }: Partial<Pick<ProcessSettings, "telemetry" | "stays">> = {},
): EngineProcess {
  const settings: ProcessSettings = { module, location, telemetry, stays };
  const path = fileURLToPath(new URL(`./${script}.ts`, import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", path, JSON.stringify(settings)], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: ENDS_WITHIN_MS,
    killSignal: "SIGKILL",
  });
  return new EngineProcess(child, child.stdout, child.stderr);
}

export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  readonly #printed = new EventEmitter();
  readonly #lines: ProcessLine[] = [];
  #stderr = "";
  #over = false;

  constructor(child: ChildProcess, stdout: Readable, stderr: Readable) {
    this.#child = child;
    this.#closed = once(child, "close").then(() => {
      this.#over = true;
    });
    createInterface(stdout).on("line", (line) => {
      this.#lines.push(JSON.parse(line) as ProcessLine);
      this.#printed.emit("line");
    });
    stderr.setEncoding("utf8").on("data", (chunk: string) => {
      this.#stderr += chunk;
    });
  }

  /** What it has printed so far of this kind. */
  all<K extends ProcessLine["kind"]>(kind: K): (ProcessLine & { kind: K })[] {
    return this.#lines.filter((line): line is ProcessLine & { kind: K } => line.kind === kind);
  }

  /** Its first line of this kind; waits until it prints one. */
  async first<K extends ProcessLine["kind"]>(kind: K): Promise<ProcessLine & { kind: K }> {
    for (;;) {
      const [line] = this.all(kind);
      if (line !== undefined) return line;
      if (this.#over) throw new Error(`the process has ended without ${kind}: ${this.#stderr}`);
      await Promise.race([once(this.#printed, "line"), this.#closed]);
    }
  }

  /** The one span of this name; of a process that has ended. */
  span(name: string): PrintedSpan {
    const [found, ...others] = this.all("span").filter(({ span }) => span.name === name);
    if (found === undefined || others.length > 0) throw new Error(`expected one span named ${name}`);
    return found.span;
  }

  /** Waits until it has ended by itself; its exit code, and what it complained of. */
  async ended(): Promise<{ readonly exitCode: number | null; readonly stderr: string }> {
    await this.#closed;
    return { exitCode: this.#child.exitCode, stderr: this.#stderr };
  }

  /** Ends it; as a crash would, where nothing else is said. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#child.kill(signal);
    await this.#closed;
  }
}
