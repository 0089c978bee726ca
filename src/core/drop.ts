import type { TaskOrigin } from "./carrier.js";
import { CurrentTask } from "./current-task.js";
import { LiveAttempt } from "./live-attempt.js";
import { countDropped } from "./metrics.js";
import type { AttemptSettings } from "./running-attempt.js";
import { NO_SPAN } from "./span.js";
import { parentContext } from "./span-start.js";
import type { Telemetry } from "./telemetry.js";

/** Stands for the attempt that will not run while the hook is told of that, inside the task's context without a span. */
export class DroppedAttempt extends LiveAttempt {
  declare readonly task: CurrentTask;

  /** `attempt` will not run; zero-based. */
  constructor(origin: TaskOrigin, attempt: number, telemetry: Telemetry) {
    super(new CurrentTask(origin, attempt), NO_SPAN, telemetry, parentContext(origin, telemetry));
    this.markEnded();
  }

  /** Counts the task and tells the hook. To be called once; never rejects. */
  async tell(reason: unknown, { route, notify }: Pick<AttemptSettings, "route" | "notify">): Promise<void> {
    const { task, telemetry } = this;
    CurrentTask.abort(task, reason);
    countDropped(telemetry.instruments(), task.funcName, route);
    if (notify !== undefined) {
      await new Promise<void>((resolve) => {
        this.run(() => void notify({ outcome: "cancelled", error: reason }, task).then(resolve));
      });
    }
    this.close();
  }
}
