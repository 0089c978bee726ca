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

/** Stands for the attempt that will not run while the hook is told of that, inside the task's context without a span. */
export class DroppedAttempt extends LiveAttempt {
  declare readonly task: CurrentTask;
  readonly #plan: DropPlan;

  constructor(plan: DropPlan) {
    const { origin, telemetry } = plan;
    super(new CurrentTask(origin, plan.attempt), NO_SPAN, telemetry, origin.context);
    this.#plan = plan;
    this.markEnded();
  }

  /** Counts the task and tells the hook. To be called once; never rejects. */
  async tell(): Promise<void> {
    const { origin, reason, route, notify } = this.#plan;
    const { task, telemetry } = this;
    CurrentTask.abort(task, reason);
    countDropped(telemetry.instruments(), origin.name, route);
    if (notify !== undefined) {
      await new Promise<void>((resolve) => {
        this.run(() => void notify({ outcome: "cancelled", error: reason }, task).then(resolve));
      });
    }
    this.close();
  }
}
