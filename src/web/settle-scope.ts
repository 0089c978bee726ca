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
  readonly errored?: Error | null;
  readonly socket?: { readonly readableEnded: boolean; readonly errored?: Error | null } | null;
  once(event: "close" | "prefinish", listener: () => void): unknown;
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
  response.once("close", () => {
    // HTTP/2 calls what its client left finished, and tells nothing of a later answer
    const answered = response.headersSent || response.writableFinished;
    if (answered) settleScope(scope, response);
    else response.once("prefinish", () => settleScope(scope, response));
  });
}

/** Starts the tasks of a request that was answered; drops them where the answer is a 5xx, or was broken off here. */
export function settleScope(scope: TaskScope, response: NodeResponse): void {
  if (isFailure(response.statusCode) || isBroken(response)) scope.discard();
  else scope.release();
}

/** The server says itself that it failed. */
export function isFailure(status: number): boolean {
  return status >= 500;
}

// A client that leaves ends the socket or resets it; what is cut without either was cut on this side.
function isBroken({ errored, headersSent, writableEnded, writableFinished, socket }: NodeResponse): boolean {
  if (errored) return true;
  if (!headersSent || writableEnded || writableFinished) return false;
  return !socket?.readableEnded && !socket?.errored;
}
