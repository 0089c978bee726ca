import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** An instrumented service in a process of its own. */
export interface ServiceProcess {
  readonly url: string;
  /** Asks it to end, and waits until it has. */
  stop(): Promise<Ending>;
}

/** How a process ended. */
export interface Ending {
  readonly exitCode: number | null;
  readonly stderr: string;
}

const SETTINGS = { OTEL_EXPORTER_OTLP_PROTOCOL: "http/json", OTEL_NODE_RESOURCE_DETECTORS: "env", NODE_OPTIONS: "" };

/** Starts a service of this folder, without the caller's OTEL_* settings. */
export async function startProcess(name: string, env: Record<string, string>): Promise<ServiceProcess> {
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith("OTEL_"));
  const args = ["--import", "tsx", "--import", pathOf("instrumentation"), pathOf(name)];
  const child = spawn(process.execPath, args, {
    env: { ...Object.fromEntries(inherited), ...SETTINGS, OTEL_SERVICE_NAME: name, ...env },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    timeout: 150_000,
    killSignal: "SIGKILL",
  });
  const ended = endingOf(child);
  const [message] = await Promise.race([once(child, "message"), ended.then(failToStart)]);
  return {
    url: (message as { url: string }).url,
    stop() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}

function pathOf(name: string): string {
  return fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
}

// What it says on stderr is shown at once too: when it crashes, a test has failed before it has ended.
async function endingOf(child: ChildProcess): Promise<Ending> {
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
    process.stderr.write(chunk);
  });
  await once(child, "close");
  return { exitCode: child.exitCode, stderr };
}

function failToStart({ exitCode, stderr }: Ending): never {
  throw new Error(`the service ended with exit code ${exitCode}: ${stderr}`);
}
