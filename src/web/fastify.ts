import type { FastifyPluginAsync } from "fastify";
import type { TaskScope } from "../manager/task-scope.js";
import { checkScopes, settleWhenSent, type TaskScopes } from "./settle-scope.js";

declare module "fastify" {
  interface FastifyRequest {
    /** The tasks of this request; they start when its response has been sent. */
    tasks: TaskScope;
  }
}

export interface TaskflowOptions {
  /** The manager whose tasks are added. */
  tasks: TaskScopes;
}

/**
 * `app.register(taskflow, { tasks: manager })`, before the routes, gives every request `request.tasks`. A task that is
 * added there starts when the response has been sent, and not at all where the handler threw, or its answer is a 5xx
 * or breaks off; with a durable engine it is sent at once. What is no task manager rejects `ready()` with a
 * `TaskConfigError`.
 */
export const taskflow: FastifyPluginAsync<TaskflowOptions> = Object.assign(plugin, {
  // for the whole application, not only for what this plugin registers itself
  [Symbol.for("skip-override")]: true,
  [Symbol.for("fastify.display-name")]: "otel-taskflow",
  [Symbol.for("plugin-meta")]: { name: "otel-taskflow", fastify: "5.x" },
});

// what a plugin that is no async function throws ends the process
async function plugin(...[app, { tasks }]: Parameters<FastifyPluginAsync<TaskflowOptions>>): Promise<void> {
  checkScopes("taskflow: its option tasks", tasks);
  app.decorateRequest("tasks");
  app.addHook("onRequest", (request, reply, next) => {
    request.tasks = tasks.scope();
    settleWhenSent(request.tasks, reply.raw);
    next();
  });
  app.addHook("onError", (request, _reply, _error, next) => {
    // none where an earlier hook threw
    request.tasks?.discard();
    next();
  });
}
