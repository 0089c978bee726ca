import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";

const STARTS = 10;
const READY_WITHIN_MS = 150_000;
const STOPPED_WITHIN_MS = 10_000;

/** A server of this process's own, in a temporary folder; it ends with this process. */
export interface OwnServer {
  readonly url: string;
  readonly port: number;
  /** Ends it where it runs, and starts it again on the same port with what it had stored. */
  restart(): Promise<void>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Ends it for good and removes what it stored. */
  stop(): Promise<void>;
}

export interface ServerPlan {
  readonly url: string;
  readonly port: number;
  readonly folder: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly spawn?: SpawnOptions;
  /** The signal for a quick and clean end. */
  readonly quit: NodeJS.Signals;
  /** Rejects as long as the server takes no connections. */
  readonly ping: (url: string) => Promise<void>;
}

/** Starts a server, and waits until it takes connections. */
export async function startServer(plan: ServerPlan): Promise<OwnServer> {
  const { url, port, folder, quit } = plan;
  const guard = startGuard(quit, folder);
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    // one that was killed may leave processes behind, which hold what it needs for a moment
    for (let left = STARTS; left > 0; left -= 1) {
      child = launch(plan);
      guard.write(`${child.pid ?? ""}\n`);
      if (await isReady(plan, child)) return;
      await wait(200);
    }
    throw new Error(`${plan.command} does not start`);
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    await ended(child, signal);
    guard.write("\n");
  };
  await start();
  return {
    ...{ url, port },
    restart: async () => {
      await end(quit);
      await start();
    },
    kill: () => end("SIGKILL"),
    stop: async () => {
      await end(quit);
      guard.end();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** A TCP port of this machine that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("a TCP server has no port");
  return address.port;
}

export function temporaryFolder(name: string): string {
  return mkdtempSync(join(tmpdir(), `otel-taskflow-${name}-`));
}

// Test processes are killed, too: what ends their servers is that their end of a pipe is closed. The guard is told
// which process runs now, by its id.
function startGuard(quit: NodeJS.Signals, folder: string): Writable {
  const script = `while read -r line; do pid=$line; done; [ -n "$pid" ] && kill -s "$1" "$pid" && sleep 1; rm -rf "$2"`;
  const args = ["-c", script, "guard", quit.replace("SIG", ""), folder];
  const guard = spawn("sh", args, { stdio: ["pipe", "ignore", "ignore"], detached: true });
  guard.unref();
  guard.stdin.on("error", () => {}); // nothing is left to guard
  if (guard.stdin instanceof Socket) guard.stdin.unref();
  return guard.stdin;
}

function launch({ command, args, folder, spawn: options }: ServerPlan): ChildProcess {
  const child = spawn(command, args, { ...options, cwd: folder, stdio: "ignore" });
  child.on("error", () => {}); // told by the ping that never succeeds
  child.unref();
  return child;
}

// False where it has ended instead.
async function isReady({ url, command, ping }: ServerPlan, child: ChildProcess): Promise<boolean> {
  const deadline = Date.now() + READY_WITHIN_MS;
  for (;;) {
    try {
      await ping(url);
      return true;
    } catch (error) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return false;
      if (Date.now() > deadline) throw new Error(`${command} takes no connections`, { cause: error });
      await wait(20);
    }
  }
}

async function ended(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.ref();
  child.kill(signal);
  const killer = setTimeout(() => child.kill("SIGKILL"), STOPPED_WITHIN_MS);
  await exit;
  clearTimeout(killer);
}
