import type { TaskRoute } from "./attributes.js";
import type { TaskOrigin } from "./carrier.js";
import { CurrentTask } from "./current-task.js";
import type { Notify } from "./finish.js";
import { LiveAttempt } from "./live-attempt.js";
import { countDropped } from "./metrics.js";
import { NO_SPAN } from "./span.js";
import type { Telemetry } from "./telemetry.js";

/** A task that ends between two attempts, or before its first, and what is to be told of that. */
export interface DropPlan {
  readonly origin: TaskOrigin;
  /** The attempt that will not run; zero-based. */
  readonly attempt: number;
  readonly reason: unknown;
  readonly route: TaskRoute;
  readonly telemetry: Telemetry;
  readonly notify: Notify | undefined;
}

/**
 * Tells the hook, inside the task's context and without a span, that a task ended while no attempt ran. Never rejects.
 */
export async function dropTask({ origin, attempt, reason, route, telemetry, notify }: DropPlan): Promise<void> {
  const task = new CurrentTask(origin, attempt);
  CurrentTask.abort(task, reason);
  const dropped = new LiveAttempt(task, NO_SPAN, telemetry, origin.context);
  dropped.markEnded();
  countDropped(telemetry.instruments(), origin.name, route);
  if (notify !== undefined) {
    await new Promise<void>((resolve) => {
      dropped.run(() => void notify({ outcome: "cancelled", error: reason }, task).then(resolve));
    });
  }
  dropped.close();
}
