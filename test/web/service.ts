import { type ShutdownReport, TaskManager, type TaskManagerOptions } from "otel-taskflow";
import { onTestFinished, vi } from "vitest";
import type { Handler, WebServer, WebWorld } from "./world.js";

/** A task that leaves a note that it ran. */
export type Note = (what: string) => void;

/** An application under test, and what its tasks have done. */
export interface Service extends WebServer {
  readonly manager: TaskManager;
  /** What the task `note` was called with, in order. */
  readonly ran: readonly string[];
  /** Asks and waits for the whole answer, over a connection of its own. */
  get(path?: string): Promise<{ readonly status: number; readonly text: string }>;
  /** As applications should: the server first, then the tasks. What has not run after that never will. */
  stop(): Promise<ShutdownReport>;
}

/** Serves handlers that add the task `note`. */
export async function startService(
  world: WebWorld,
  handlersOf: (note: Note) => Record<string, Handler>,
  options?: TaskManagerOptions,
): Promise<Service> {
  const manager = new TaskManager(options);
  const ran: string[] = [];
  const note = manager.task("note", (what: string) => void ran.push(what));
  const server = await world.serve(manager, handlersOf(note));
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= server.close();
    return closed;
  };
  const stop = async (): Promise<ShutdownReport> => {
    await close();
    return await manager.shutdown();
  };
  onTestFinished(async () => void (await stop()));
  return { ...server, manager, ran, get: (path = "/") => get(server.url + path), close, stop };
}

/** Waits for what a task or a server does next. */
export function until(check: () => void): Promise<void> {
  return vi.waitFor(check, { timeout: 10_000, interval: 5 });
}

/** Lets everything happen that waits for no one. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function get(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(url, { headers: { connection: "close" } });
  return { status: response.status, text: await response.text() };
}
