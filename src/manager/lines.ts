import { warn } from "../core/guard.js";
import { isThenable } from "../core/thenable.js";
import type { TaskTelemetryOptions } from "../core/types.js";
import { whenAborted } from "../core/when-aborted.js";

type OnLog = TaskTelemetryOptions["onLog"];

/** Lines that an asynchronous `onLog` is still writing: who waits for the tasks waits for these, too. */
export class PendingLines {
  readonly #pending = new Set<Promise<unknown>>();

  /** `onLog`, with what it returns a promise for pending until that is settled. */
  heard(onLog: OnLog): OnLog {
    if (typeof onLog !== "function") return onLog;
    return (line) => {
      const returned: unknown = onLog(line);
      if (isThenable(returned)) this.#add(Promise.resolve(returned));
    };
  }

  /** Resolves when none is pending, or when `deadline` aborts. Never rejects. */
  async settled(deadline?: AbortSignal): Promise<void> {
    while (this.#pending.size > 0 && deadline?.aborted !== true) {
      const all = Promise.all(this.#pending);
      await (deadline === undefined ? all : Promise.race([all, whenAborted(deadline)]));
    }
  }

  #add(line: Promise<unknown>): void {
    const written = line
      .catch((error: unknown) => warn("onLog failed", error))
      .finally(() => this.#pending.delete(written));
    this.#pending.add(written);
  }
}
