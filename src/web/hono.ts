import type { Context, MiddlewareHandler } from "hono";
import type { TaskScope } from "../manager/task-scope.js";
import { checkScopes, isFailure, type NodeResponse, onceOver, settleScope, type TaskScopes } from "./settle-scope.js";

declare module "hono" {
  interface ContextVariableMap {
    /** The tasks of this request; they start when its response has been sent. */
    tasks: TaskScope;
  }
}

interface Sent {
  readonly response: NodeResponse;
  /** The application itself broke it off. */
  readonly broken: boolean;
}

/**
 * `app.use(taskflow(manager))` gives every later handler `c.var.tasks`. A task that is added there starts when the
 * response has been sent, and not at all where the handler threw, or its answer is a 5xx or breaks off; with a durable
 * engine it is sent at once. Under `@hono/node-server` the end of the response is known; elsewhere the tasks start as
 * soon as the handler has returned its response.
 *
 * @throws TaskConfigError for what is no task manager.
 */
export function taskflow(manager: TaskScopes): MiddlewareHandler {
  checkScopes("taskflow()", manager);
  return async (c, next) => {
    const scope = manager.scope();
    c.set("tasks", scope);
    const sent = whenSent(c);
    await next();
    if (c.error !== undefined || isFailure(c.res.status)) scope.discard();
    else if (sent === undefined) scope.release();
    else sent.then(({ response, broken }) => settleScope(scope, response, broken));
  };
}

// Asked before the handler runs: its client may be gone before it returns.
function whenSent({ env }: Context): Promise<Sent> | undefined {
  const response: NodeResponse | undefined = env?.outgoing;
  if (typeof response?.once !== "function") return undefined;
  return new Promise((resolve) => onceOver(response, (broken) => resolve({ response, broken })));
}
