import type { TaskScope } from "../manager/task-scope.js";
import { checkScopes, type NodeResponse, settleWhenSent, type TaskScopes } from "./settle-scope.js";

declare global {
  // biome-ignore lint/style/noNamespace: where Express has middleware declare what it adds to a request
  namespace Express {
    interface Request {
      /** The tasks of this request; they start when its response has been sent. */
      tasks: TaskScope;
    }
  }
}

/** A middleware of Express 4 and 5. */
export type TaskMiddleware = (request: Express.Request, response: NodeResponse, next: () => void) => void;

/**
 * `app.use(taskflow(manager))` gives every later handler `req.tasks`. A task that is added there starts when the
 * response has been sent, and not at all where the answer is a 5xx or breaks off; with a durable engine it is sent at
 * once. Express tells no middleware that a handler threw: a thrown 4xx counts as an answer, unless the application's
 * error handler calls `req.tasks.discard()`.
 *
 * @throws TaskConfigError for what is no task manager.
 */
export function taskflow(manager: TaskScopes): TaskMiddleware {
  checkScopes("taskflow()", manager);
  return (request, response, next) => {
    request.tasks = manager.scope();
    settleWhenSent(request.tasks, response);
    next();
  };
}
