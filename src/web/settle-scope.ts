import { show } from "../core/checks.js";
import { TaskConfigError } from "../core/errors.js";
import type { TaskManager } from "../manager/task-manager.js";
import type { TaskScope } from "../manager/task-scope.js";

/** What opens a scope for each request: a `TaskManager`. */
export type TaskScopes = Pick<TaskManager, "scope">;

/** What is read of a Node response, be it HTTP/1's or HTTP/2's. */
export interface NodeResponse {
  readonly statusCode: number;
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  readonly writableFinished: boolean;
  readonly destroyed: boolean;
  readonly errored?: Error | null;
  /** HTTP/2's. */
  readonly stream?: unknown;
  readonly socket?: NodeSocket | null;
  once(event: "close" | "prefinish", listener: () => void): unknown;
}

interface NodeSocket {
  readonly readableEnded: boolean;
  readonly errored?: Error | null;
  prependListener(event: "close", listener: () => void): unknown;
  removeListener(event: "close", listener: () => void): unknown;
}

/** @throws TaskConfigError unless the value can be used as a task manager. */
export function checkScopes(option: string, tasks: TaskScopes): void {
  if (typeof tasks === "object" && typeof tasks?.scope === "function") return;
  throw new TaskConfigError(`${option}: expected a TaskManager, received ${show(tasks)}`);
}

/**
 * Settles a request's scope when its response is over. A client that leaves before there is an answer does not end
 * the handler: what became of the handler shows when it answers all the same.
 */
export function settleWhenSent(scope: TaskScope, response: NodeResponse): void {
  onceOver(response, (broken) => {
    // HTTP/2 calls what its client left finished, and tells nothing of a later answer
    const answered = response.headersSent || response.writableFinished;
    if (answered) settleScope(scope, response, broken);
    else response.once("prefinish", () => settleScope(scope, response, false));
  });
}

/** Starts the tasks of a request that was answered; drops them where the answer is a 5xx, or was broken off here. */
export function settleScope(scope: TaskScope, response: NodeResponse, broken: boolean): void {
  if (isFailure(response.statusCode) || broken) scope.discard();
  else scope.release();
}

/** Calls `settle` when a response is over, with whether the application itself broke it off. */
export function onceOver(response: NodeResponse, settle: (broken: boolean) => void): void {
  // many of HTTP/2's share one
  const socket = response.stream === undefined ? response.socket : undefined;
  let destroyed = false;
  // before Node calls the response of a closed socket destroyed, whoever closed it: a time limit, a shutdown, a client
  const look = (): void => {
    destroyed = response.destroyed;
  };
  socket?.prependListener("close", look);
  response.once("close", () => {
    socket?.removeListener("close", look);
    settle(isBroken(response, socket ? destroyed : isCut(response)));
  });
}

/** The server says itself that it failed. */
export function isFailure(status: number): boolean {
  return status >= 500;
}

function isBroken(
  { errored, headersSent, writableEnded, writableFinished }: NodeResponse,
  destroyed: boolean,
): boolean {
  if (errored) return true;
  return headersSent && !writableEnded && !writableFinished && destroyed;
}

// A client that leaves ends the socket or resets it; what is cut without either was cut on this side.
function isCut({ socket }: NodeResponse): boolean {
  return !socket?.readableEnded && !socket?.errored;
}
