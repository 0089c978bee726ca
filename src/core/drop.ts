import { INVALID_SPAN_CONTEXT, trace } from "@opentelemetry/api";
import type { TaskRoute } from "./attributes.js";
import type { TaskOrigin } from "./carrier.js";
import { type ActiveAttempt, AttemptScope } from "./context.js";
import { CurrentTask } from "./current-task.js";
import type { AttemptResult } from "./finish.js";
import { quietly } from "./guard.js";
import { countDropped } from "./metrics.js";
import type { Telemetry } from "./telemetry.js";
import type { TaskContext } from "./types.js";

/** A task that ends between attempts, or before its first. */
export interface DropPlan {
  readonly origin: TaskOrigin;
  /** The attempt that will not run; zero-based. */
  readonly attempt: number;
  readonly reason: unknown;
  readonly route: TaskRoute;
  readonly telemetry: Telemetry;
  readonly notify: ((result: AttemptResult<unknown>, context: TaskContext) => unknown) | undefined;
}

/** Tells of a task's end where no attempt runs: inside the task's context, without a span. Never rejects. */
export async function dropTask({ origin, attempt, reason, route, telemetry, notify }: DropPlan): Promise<void> {
  const context = new CurrentTask(origin, attempt);
  CurrentTask.abort(context, reason);
  const span = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
  const state = { ended: true, logged: 0, dropped: 0, measures: undefined };
  const idle: ActiveAttempt = { context, span, telemetry, ...state };
  countDropped(telemetry.instruments(), origin.name, route);
  const scope = new AttemptScope(origin.context, idle);
  const tell = (): unknown => notify?.({ outcome: "cancelled", error: reason }, context);
  await new Promise<void>((resolve) => {
    scope.run(() => void quietly(`a hook of task ${origin.name}`, tell, undefined).then(() => resolve()));
  });
  scope.close();
}
